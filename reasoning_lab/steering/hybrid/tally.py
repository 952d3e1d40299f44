"""What a session of two models passes through one of them: what each row needed, and what was run."""


class Tally:
    """Counts of one model, in the units of Work. What was needed depends on the rows' own texts; what was run, on the
    fixed shape too."""

    def __init__(self, rows: int) -> None:
        self._prefill = self._decode = self._run_heads = 0
        self._layers, self._heads = [0] * rows, [0] * rows

    def need(self, row: int, layers: int, heads: int) -> None:
        """A row needed `layers` token-layer passes and the logits of `heads` tokens."""
        self._layers[row] += layers
        self._heads[row] += heads

    def run(self, layers: int, heads: int) -> None:
        """As much was run in a decode step."""
        self._decode += layers
        self._run_heads += heads

    def read(self, layers: int) -> None:
        """As many token-layer passes read a prompt."""
        self._prefill += layers

    @property
    def passed(self) -> tuple[int, int, int]:
        """All that was run so far: prefill, decode, heads."""
        return self._prefill, self._decode, self._run_heads

    def of_row(self, row: int) -> tuple[int, int]:
        """What a row needed so far: decode, heads."""
        return self._layers[row], self._heads[row]
