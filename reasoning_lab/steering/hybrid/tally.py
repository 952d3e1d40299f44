"""What a session of two models passes through one of them: what each row needed, and what was run."""

from reasoning_lab.records import Passes


class Tally:
    """Counts of one model. What was needed depends on the rows' own texts; what was run, on the fixed shape too."""

    def __init__(self, rows: int) -> None:
        self.passed = Passes()
        """All that was run so far."""
        self._layers, self._heads = [0] * rows, [0] * rows

    def need(self, row: int, layers: int, heads: int) -> None:
        """A row needed `layers` token-layer passes and the logits of `heads` tokens."""
        self._layers[row] += layers
        self._heads[row] += heads

    def run(self, layers: int, heads: int) -> None:
        """As much was run in a decode step."""
        self.passed += Passes(decode=layers, heads=heads)

    def read(self, layers: int) -> None:
        """As many token-layer passes read a prompt."""
        self.passed += Passes(prefill=layers)

    def of_row(self, row: int) -> Passes:
        """What a row needed so far."""
        return Passes(0, self._layers[row], self._heads[row])
