"""Work that several callers share."""

import asyncio
from pathlib import Path

import pytest

from tfaas.engine.resolve import Engine
from tfaas.engine.singleflight import SingleFlight
from tfaas.errors import NotFound, RegistryUnavailable
from tfaas.registry import VersionRecord
from tfaas.registry.names import Reference
from tfaas.settings import Settings


def test_it_is_done_once_for_all_who_wait_and_again_for_those_who_come_later() -> None:
    done: list[str] = []

    async def work() -> int:
        await asyncio.sleep(0)
        done.append("done")
        return len(done)

    async def main() -> None:
        flight: SingleFlight[str, int] = SingleFlight()
        assert await asyncio.gather(*(flight.get("a", work) for _ in range(100))) == [1] * 100
        assert await flight.get("a", work) == 2
        first = asyncio.create_task(flight.get("a", work))
        await asyncio.sleep(0)
        flight.forget()
        assert await asyncio.gather(first, flight.get("a", work), flight.get("b", work)) == [3, 4, 5]

    asyncio.run(main())


def test_who_goes_away_takes_nothing_from_the_others_and_all_are_told_the_error() -> None:
    async def work() -> int:
        await asyncio.sleep(0.01)
        raise ValueError("broken")

    async def main() -> None:
        flight: SingleFlight[str, int] = SingleFlight()
        leaving, *staying = (asyncio.create_task(flight.get("a", work)) for _ in range(3))
        await asyncio.sleep(0)
        leaving.cancel()
        for one in staying:
            with pytest.raises(ValueError, match="broken"):
                await one
        assert leaving.cancelled()

    asyncio.run(main())


def test_a_registry_that_hangs_is_given_up_and_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfaas.engine.resolve.REGISTRY_SECONDS", 0.05)
    asked: list[str] = []

    class Hanging:
        async def get(self, reference: Reference) -> VersionRecord:
            asked.append(reference.name)
            if len(asked) == 1:
                await asyncio.sleep(60)
            raise NotFound("no such model")

    async def main() -> None:
        engine = Engine(Settings(data_dir=tmp_path), Hanging(), None, lambda: 0)  # type: ignore[arg-type]
        answers = await asyncio.gather(*(engine.resolve("a") for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [RegistryUnavailable] * 3
        with pytest.raises(NotFound, match="no such model"):
            await engine.resolve("a")
        assert asked == ["a", "a"]
        await engine.close()

    asyncio.run(main())
