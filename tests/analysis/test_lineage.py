"""Which organisms share a lineage."""

from helpers import bodies, populace

from analysis.lineage import lineages


def test_lineages_are_joined_by_descent_by_common_ancestors_and_by_equal_origins():
    organisms = populace.lines(2)
    assert lineages(organisms) == [0, 0, 0, 1, 1, 1]
    assert lineages([organisms[2], organisms[0], organisms[5]]) == [0, 0, 1]
    cousins = [populace.body("persistent", 8, organisms[0]), populace.body("regenerating", 9, organisms[0])]
    assert lineages(cousins) == [0, 0]
    strangers = [bodies.static_organism(number=k) for k in range(3)]
    assert lineages(strangers) == [0, 1, 2]
    assert lineages(strangers, [("disc", 1), None, ("disc", 1)]) == [0, 1, 0]
    assert lineages([cousins[0], strangers[0], cousins[1]], ["a", "a", None]) == [0, 0, 0]
    assert lineages([]) == []
