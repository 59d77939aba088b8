"""The base of every stored model: frozen, and with no field but its own."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError, to_json

STORED = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")


class Frozen(BaseModel):
    model_config = STORED

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """JSON. A byte of a file's name that is not UTF-8, in a path or an error, becomes an escape: no record is lost
        for the text in it.
        """
        try:
            return super().model_dump_json(indent=indent, **options)
        except PydanticSerializationError:
            spelled = _spelled(self.model_dump(mode="json", **options))
            return to_json(spelled, indent=indent, inf_nan_mode="strings").decode()


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_spelled(name): _spelled(each) for name, each in value.items()}
    return [_spelled(each) for each in value] if isinstance(value, list) else value


_NAMES_GIVEN: dict[frozenset[str], set[str]] = {}


def share_names(model: BaseModel) -> None:
    """Lets models with the same given names share one set of them. Pydantic makes a set for each model, which for tens
    of thousands is more memory than their values.
    """
    names = model.model_fields_set
    object.__setattr__(model, "__pydantic_fields_set__", _NAMES_GIVEN.setdefault(frozenset(names), names))
