"""Calls any method of the API by its generated stub, as anybody, and reads errors whole."""

import dataclasses
import importlib
import pathlib

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_status import rpc_status

PATIENCE = 20


def services():
    """Every service of the API with its generated stub, by its name."""
    found = {}
    for proto in sorted(pathlib.Path("proto/aap/v1").glob("*.proto")):
        described = importlib.import_module(f"aap.v1.{proto.stem}_pb2").DESCRIPTOR
        for service in described.services_by_name.values():
            stubs = importlib.import_module(f"aap.v1.{proto.stem}_pb2_grpc")
            found[service.name] = (service, getattr(stubs, f"{service.name}Stub"))
    return found


SERVICES = services()


def methods():
    """Every method of the API, such as `PolicyService/GetPolicy`."""
    return {
        f"{service.name}/{method.name}": method
        for service, _ in SERVICES.values()
        for method in service.methods
    }


@dataclasses.dataclass
class Refusal:
    """An error of the API, taken apart."""

    code: str
    reason: str
    metadata: dict
    # Of every further detail its name and its fields.
    details: dict


class Caller:
    """Somebody on a connection; without a token, a stranger."""

    def __init__(self, channel, token=None):
        self.channel = channel
        self.headers = [] if token is None else [("authorization", f"Bearer {token}")]

    def open(self, method, request):
        """Opens a call that streams answers; one that streams requests says them all at once."""
        messages = [read_message(method, each) for each in listed(request)]
        _, stubs = SERVICES[method.containing_service.name]
        stub = getattr(stubs(self.channel), method.name)
        sent = iter(messages) if method.client_streaming else messages[0]
        return stub(sent, metadata=self.headers, timeout=PATIENCE)

    def call(self, method, request):
        """Calls, and returns the answer (of a stream, its first message) or how it was refused."""
        try:
            answered = self.open(method, request)
            if not method.server_streaming:
                return answered
            first = next(answered)
            answered.cancel()
            return first
        except grpc.RpcError as error:
            return refusal(error)


def listed(request):
    return request if isinstance(request, list) else [request]


def read_message(method, fields):
    return json_format.ParseDict(
        fields, message_factory.GetMessageClass(method.input_type)()
    )


def refusal(error):
    """Takes an error apart, and demands the form that every error has."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error}"
    assert (status.code, status.message) == (error.code().value[0], error.details())
    infos, details = [], {}
    for packed in status.details:
        kind = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
        detail = message_factory.GetMessageClass(kind)()
        assert packed.Unpack(detail)
        if isinstance(detail, error_details_pb2.ErrorInfo):
            infos.append(detail)
        else:
            assert kind.name not in details, f"two of {kind.name}: {error}"
            details[kind.name] = json_format.MessageToDict(detail)
    assert len(infos) == 1, f"an error has one ErrorInfo: {error}"
    info = infos[0]
    assert info.domain == "aap", info
    assert info.reason.startswith("ERROR_REASON_"), info
    return Refusal(
        error.code().name, info.reason.removeprefix("ERROR_REASON_"), dict(info.metadata), details
    )
