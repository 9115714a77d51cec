"""Work that several callers share."""

import asyncio

import pytest

from tfaas.engine.shared import Shared


def test_it_is_done_once_for_all_who_wait_and_again_for_those_who_come_later() -> None:
    done: list[str] = []

    async def work() -> int:
        await asyncio.sleep(0)
        done.append("done")
        return len(done)

    async def main() -> None:
        shared: Shared[str, int] = Shared()
        assert await asyncio.gather(*(shared.get("a", work) for _ in range(100))) == [1] * 100
        assert await shared.get("a", work) == 2
        first = asyncio.create_task(shared.get("a", work))
        await asyncio.sleep(0)
        shared.forget()
        assert await asyncio.gather(first, shared.get("a", work), shared.get("b", work)) == [3, 4, 5]

    asyncio.run(main())


def test_who_goes_away_takes_nothing_from_the_others_and_all_are_told_the_error() -> None:
    async def work() -> int:
        await asyncio.sleep(0.01)
        raise ValueError("broken")

    async def main() -> None:
        shared: Shared[str, int] = Shared()
        leaving, *staying = (asyncio.create_task(shared.get("a", work)) for _ in range(3))
        await asyncio.sleep(0)
        leaving.cancel()
        for one in staying:
            with pytest.raises(ValueError, match="broken"):
                await one
        assert leaving.cancelled()

    asyncio.run(main())
