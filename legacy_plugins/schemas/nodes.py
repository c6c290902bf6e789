"""What a JSON Schema is made of once it is compiled: nodes of rules, and the run that applies them to one value.

Owns the counting of steps, the telling of faults with their places, and the passing on of what was looked at, which
`unevaluatedItems` and `unevaluatedProperties` ask for. A node is immutable once made and any thread's; a `Run` is one
evaluation's, and so one thread's.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from legacy_plugins.schemas.bodies import escaped

#: Characters of one fault's text.
MAX_DETAIL = 200

#: What a schema has looked at: names of members or indexes of items; None where nobody asks.
Seen = Optional[Set[Any]]
#: `rule(value, run, seen)`: whether the value passes; tells the fault where the run wants to know.
Rule = Callable[[Any, "Run", Seen], bool]
_Child = Tuple[Any, "Node", Any]


class TooMuchWork(Exception):
    """The value needs more steps than it was given."""


class EnoughFaults(Exception):
    """As many faults were found as are told."""


class Run:
    """One evaluation. `left`: steps; `faults`: where to tell faults, None: the first one ends it."""

    __slots__ = ("left", "faults", "path", "_most")

    def __init__(self, steps: int, faults: List[Dict[str, str]], most_faults: int) -> None:
        self.left = steps
        self.faults: Optional[List[Dict[str, str]]] = faults
        self.path: List[Any] = []
        self._most = most_faults

    def spend(self, steps: int) -> None:
        """Pay for what follows, or went before."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork

    def tell(self, faults: List[Dict[str, str]], detail: str) -> None:
        """Note a fault of the value at the path, with its JSON pointer (RFC 6901)."""
        pointer = "".join("/" + escaped(str(step)) for step in self.path)
        faults.append({"pointer": pointer, "detail": detail[:MAX_DETAIL]})
        if len(faults) >= self._most:
            raise EnoughFaults

    def probe(self, node: Node, value: Any, seen: Seen) -> bool:
        """Whether a value fits, telling nothing."""
        kept, self.faults = self.faults, None
        fits = node.holds(value, self, seen)
        self.faults = kept
        return fits

    def each(self, children: Iterable[_Child]) -> bool:
        """Whether all parts of a value fit. `children`: each part's place, schema and value."""
        fits = True
        self.path.append(None)
        for place, node, part in children:
            self.path[-1] = place
            if not node.holds(part, self, None):
                fits = False
                if self.faults is None:
                    break
        self.path.pop()
        return fits


class Node:
    """One schema. `late`: rules that look at what the others left over; `refuses`: it is `false`."""

    __slots__ = ("rules", "late", "cost", "refuses")

    def __init__(self) -> None:
        self.rules: Tuple[Rule, ...] = ()
        self.late: Tuple[Rule, ...] = ()
        self.cost = 1
        self.refuses = False

    def holds(self, value: Any, run: Run, seen: Seen) -> bool:
        """Whether a value fits. `seen`: gets the names or indexes of the parts that a fitting schema looked at."""
        run.left -= self.cost
        if run.left < 0:
            raise TooMuchWork
        own: Seen = set() if self.late or seen is not None else None
        fits = True
        for rule in self.rules:
            if not rule(value, run, own):
                if run.faults is None:
                    return False
                fits = False
        if own is None or not fits:
            return fits
        for rule in self.late:
            fits = rule(value, run, own) and fits
        if fits and seen is not None:
            run.spend(len(own) // 8)
            seen |= own
        return fits


class Place:
    """A keyword where it stands: its value, the schema around it, and the nodes of the schemas below it."""

    def __init__(self, nodes: Mapping[str, Node], pointer: str, schema: Mapping[str, Any], keyword: str) -> None:
        self._nodes = nodes
        self._pointer = pointer
        self.schema = schema
        self.value = schema[keyword]
        self._own = f"{pointer}/{keyword}"

    @property
    def node(self) -> Node:
        return self._nodes[self._own]

    def listed(self) -> List[Node]:
        return [self._nodes[f"{self._own}/{index}"] for index in range(len(self.value))]

    def named(self) -> List[Tuple[str, Node]]:
        return [(name, self._nodes[f"{self._own}/{escaped(name)}"]) for name in self.value]

    def beside(self, keyword: str) -> Optional[Node]:
        return self._nodes.get(f"{self._pointer}/{keyword}")


def evaluated(root: Node, value: Any, *, steps: int, most_faults: int) -> Tuple[List[Dict[str, str]], bool]:
    """The faults of a value, the first of them at least, and whether `steps` were enough to look at all of it.

    Each fault has its `pointer` (RFC 6901; "" is the whole value) and `detail`. Any thread.
    """
    faults: List[Dict[str, str]] = []
    try:
        root.holds(value, Run(steps, faults, most_faults), None)
    except EnoughFaults:
        pass
    except (TooMuchWork, RecursionError):
        return faults, False
    return faults, True
