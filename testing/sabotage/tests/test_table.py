"""The table of defences keeps up with the project; `make sabotage` itself takes minutes."""

import ast
import re

import pytest

from testing.sabotage.table import DEFENCES
from testing.services import ROOT

every_defence = pytest.mark.parametrize("defence", DEFENCES, ids=lambda one: one.name)


@every_defence
def test_a_defence_stands_exactly_once_and_can_be_taken_away(defence):
    source = (ROOT / defence.file).read_text()
    assert source.count(defence.text) == 1
    without = source.replace(defence.text, defence.without)
    assert without != source
    if defence.file.endswith(".py"):  # then it can still be read, and is not only a comment
        assert ast.dump(ast.parse(without)) != ast.dump(ast.parse(source))


@every_defence
def test_a_defence_names_a_test_that_there_is(defence):
    file, _, name = defence.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    functions = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert re.sub(r"\[.*", "", name) in functions


def test_each_defence_has_a_name_of_its_own():
    assert len({one.name for one in DEFENCES}) == len(DEFENCES)
