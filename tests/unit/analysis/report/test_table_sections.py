"""The words of the tables fit any network."""

import ast
import inspect

from greenbatch.analysis.report import table_sections


def test_no_sentence_names_what_only_classifiers_put_out() -> None:
    tree = ast.parse(inspect.getsource(table_sections))
    texts = [
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    assert texts
    assert not [text for text in texts if "logit" in text.lower()]
