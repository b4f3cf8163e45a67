"""A declaration as a person reads it: YAML in which each line says why, and what is open is left out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import yaml


@dataclass(frozen=True)
class Line:
    """A key and its value. What is ``open``, a question, or ``optional`` is written as a comment."""

    key: str
    value: object
    why: str = ""
    state: Literal["set", "open", "optional"] = "set"


@dataclass(frozen=True)
class Block:
    """A key over others. It is a comment where all below it is, and is left out where there is nothing."""

    key: str
    parts: "tuple[Line | Block, ...]"
    why: str = ""

    @classmethod
    def of(cls, key: str, parts: "Iterable[Line | Block]", why: str = "") -> "Block":
        return cls(key, tuple(part for part in parts if not isinstance(part, Block) or part.parts), why)

    @property
    def is_set(self) -> bool:
        return any(part.is_set if isinstance(part, Block) else part.state == "set" for part in self.parts)


@dataclass
class Draft:
    """Lines of YAML, and the questions that they leave open, in order."""

    lines: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def ask(self, question: str) -> int:
        """Note a question; its number."""
        self.questions.append(question)
        return len(self.questions)

    def write(self, part: Line | Block, indent: int = 0, path: str = "") -> None:
        """Add a part and all below it."""
        where = f"{path}.{part.key}".removeprefix(".")
        if isinstance(part, Block):
            self._add(indent, part.is_set, f"{_scalar(part.key)}:", part.why)
            for each in part.parts:
                self.write(each, indent + 2, where)
        else:
            why = f"QUESTION {self.ask(f'{where}: {part.why}')}" if part.state == "open" else part.why
            self._add(indent, part.state == "set", f"{_scalar(part.key)}: {_scalar(part.value)}", why)

    def _add(self, indent: int, is_set: bool, content: str, why: str) -> None:
        mark = "" if is_set else "# "
        self.lines.append(f"{' ' * indent}{mark}{content}" + (f"  # {why}" if why else ""))

    def text(self, head: Iterable[str]) -> str:
        """The document: its head, the questions, the declaration."""
        return "\n".join([*(f"# {line}".rstrip() for line in [*head, *self._asked()]), *self.lines, ""])

    def _asked(self) -> Iterator[str]:
        yield ""
        yield "Open questions:" if self.questions else "No question is open."
        yield from (f"{number}. {question}" for number, question in enumerate(self.questions, start=1))


def _scalar(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
