"""How MLflow reads a version: ``mlflow.pyfunc.load_model("models:/<use case>@champion")``."""

from pathlib import Path

import pandas as pd

from hrloop.learning import Fitted


class Probability:
    """A version as MLflow wants it: features in, calibrated probability of the outcome out."""

    def __init__(self, fitted: Fitted):
        self.fitted = fitted

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One row of features a case in, one column ``probability`` out."""
        return pd.DataFrame({"probability": self.fitted.probability(frame)}, index=frame.index)


def _load_pyfunc(path: str) -> Probability:
    return Probability(Fitted.load(Path(path)))
