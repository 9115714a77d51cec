"""Concurrent clients on `/json` and `/proto`, against a server that holds the model `benchmark`.

Alone: `locust -f benchmarks/locustfile.py --headless -u 100 -r 100 -t 30s --host http://localhost:8083 JsonUser`;
`make bench` runs it for both formats at 100 and 200 clients.
"""

from locust import FastHttpUser, task
from tfaas_client.tfaas_pb2 import Predictions

from benchmarks.network import JSON, proto_bytes

PROTO = proto_bytes()


class JsonUser(FastHttpUser):
    @task
    def predict(self) -> None:
        with self.client.post("/json", data=JSON, catch_response=True) as answer:
            if answer.status_code == 200 and len(answer.json()) != 1:
                answer.failure(f"expected one output, got {answer.text}")


class ProtoUser(FastHttpUser):
    @task
    def predict(self) -> None:
        with self.client.post("/proto", data=PROTO, catch_response=True) as answer:
            if answer.status_code == 200 and len(Predictions.FromString(answer.content).prediction) != 1:
                answer.failure("expected one output")
