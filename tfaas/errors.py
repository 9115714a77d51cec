"""What can go wrong, in the terms of the domain. `tfaas.api.http_errors` maps these to HTTP.

TFaaSError
├── InvalidRequest          the request is malformed or does not fit the model
│   └── InvalidBundle       what was uploaded can't become a model
├── MethodNotAllowed        the address exists and takes other requests
├── NotFound                no such model, version or alias
├── Conflict                the model has changed since it was read
├── TooLarge                more bytes than the limit in force
├── Overloaded              the model's queue is full
├── DeadlineExceeded        no answer within the time allowed
├── RegistryUnavailable     the database can't be reached
├── ArtifactCorrupted       stored bytes don't match their digest
├── ModelFailed             the model raised while it ran
└── Quarantined             the model has ended its process, and is not served any more
"""


class TFaaSError(Exception):
    """Base of all errors; the message says what was wrong and what was expected."""


class InvalidRequest(TFaaSError):
    pass


class InvalidBundle(InvalidRequest):
    pass


class MethodNotAllowed(TFaaSError):
    pass


class NotFound(TFaaSError):
    pass


class Conflict(TFaaSError):
    pass


class TooLarge(TFaaSError):
    pass


class Overloaded(TFaaSError):
    pass


class DeadlineExceeded(TFaaSError):
    pass


class RegistryUnavailable(TFaaSError):
    pass


class ArtifactCorrupted(TFaaSError):
    pass


class ModelFailed(TFaaSError):
    pass


class Quarantined(TFaaSError):
    pass
