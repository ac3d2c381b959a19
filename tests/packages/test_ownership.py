"""What belongs to which package: shared, found before, changed by people, needed by others."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.packages.conftest import Command
from tests.packages.support import current, figures, rows
from tests.support.archives import code_system, manifest, package, packed, profile, saved, value_set
from tests.support.definitions import search_parameter
from tests.support.server import serving

VERSION_OF = "SELECT content->>'title' FROM resource WHERE died IS NULL AND id = $1"


def put(dsn: str, *resources: dict[str, Any]) -> None:
    """What people write."""

    async def done() -> None:
        async with serving(dsn) as http:
            for one in resources:
                answer = await http.put(f"/{one['resourceType']}/{one['id']}", json=one)
                assert answer.status_code in (200, 201), answer.text

    asyncio.run(done())


def title(dsn: str, id_: str) -> str:
    ((found,),) = asyncio.run(rows(dsn, VERSION_OF, id_))
    return found


def here(dsn: str) -> set[str]:
    return set(asyncio.run(current(dsn)))


def test_what_two_packages_bring_goes_with_the_last(command: Command, fresh: str, tmp_path: Path) -> None:
    shared = value_set("both")
    one = saved(tmp_path, package(shared, value_set("mine"), name="test.one"), "one.tgz")
    two = saved(tmp_path, package(shared, value_set("yours"), name="test.two"), "two.tgz")
    assert command("install", one)[0] == 0
    code, said = command("install", two)
    assert (code, said) == (0, "installed test.two@1.0.0: 1 new, 1 unchanged")
    assert command("remove", "test.one") == (0, "removed test.one@1.0.0: 1 resources deleted, 1 stay")
    assert here(fresh) == {"ValueSet/both", "ValueSet/yours"}
    assert command("remove", "test.two")[0] == 0
    assert here(fresh) == set()


def test_the_text_that_was_installed_last_stays(command: Command, fresh: str, tmp_path: Path) -> None:
    """Authorities publish a code system again under its version: that is nobody's change by hand."""
    one = saved(tmp_path, package(value_set("v", title="one"), name="test.one"), "one.tgz")
    two = saved(tmp_path, package(value_set("v", title="two"), name="test.two"), "two.tgz")
    assert command("install", one)[0] == 0
    assert command("install", two) == (0, "installed test.two@1.0.0: 1 updated")
    assert title(fresh, "v") == "two"
    assert command("remove", "test.two")[0] == 0
    assert title(fresh, "v") == "two"
    assert command("remove", "test.one") == (0, "removed test.one@1.0.0: 1 resources deleted")


def test_what_people_changed_is_not_written_over_nor_removed(
    command: Command, fresh: str, tmp_path: Path
) -> None:
    file = saved(tmp_path, package(value_set("v", title="ours"), value_set("w")))
    assert command("install", file)[0] == 0
    put(fresh, value_set("v", title="mine"))
    before = asyncio.run(figures(fresh))
    code, said = command("remove", "test.guide")
    assert code == 1 and "people have changed what test.guide@1.0.0 brought: ValueSet/v." in said
    newer = saved(tmp_path, package(value_set("v", title="better"), value_set("w")), "newer.tgz")
    code, said = command("install", newer)
    assert code == 1 and "ValueSet/v (http://example.org/ValueSet/v|1.0.0)" in said
    assert asyncio.run(figures(fresh)) == before and title(fresh, "v") == "mine"
    assert command("install", newer, "--overwrite") == (
        0,
        "installed test.guide@1.0.0: 1 updated, 1 unchanged",
    )
    assert title(fresh, "v") == "better"
    put(fresh, value_set("v", title="mine again"))
    assert command("remove", "test.guide", "--force") == (
        0,
        "removed test.guide@1.0.0: 2 resources deleted",
    )


def test_what_was_here_before_stays(command: Command, fresh: str, tmp_path: Path) -> None:
    put(
        fresh,
        value_set("mine", title="same") | {"url": "http://example.org/ValueSet/v"},
        value_set("other", title="x"),
    )
    same = saved(tmp_path, package(value_set("v", title="same")))
    assert command("install", same) == (0, "installed test.guide@1.0.0: 1 unchanged")
    assert here(fresh) == {"ValueSet/mine", "ValueSet/other"}
    assert command("remove", "test.guide") == (0, "removed test.guide@1.0.0: 0 resources deleted, 1 stay")
    differs = saved(tmp_path, package(value_set("other", title="y")), "differs.tgz")
    code, said = command("install", differs)
    assert code == 1 and "ValueSet/other" in said
    assert command("install", differs, "--overwrite")[0] == 0 and title(fresh, "other") == "y"
    assert command("remove", "test.guide")[0] == 0
    assert here(fresh) == {"ValueSet/mine", "ValueSet/other"}


def test_an_id_that_is_somebody_else_s(command: Command, fresh: str, tmp_path: Path) -> None:
    put(fresh, value_set("v", title="mine") | {"url": "http://example.org/another"})
    assert command("install", saved(tmp_path, package(value_set("v", title="ours"))))[0] == 0
    assert here(fresh) == {"ValueSet/v", "ValueSet/v-1.0.0"}
    assert (title(fresh, "v"), title(fresh, "v-1.0.0")) == ("mine", "ours")
    long = value_set("x" * 62, "2.0.0-very.long")
    put(fresh, long | {"url": "http://example.org/long"})
    assert command("install", saved(tmp_path, package(long, name="test.long"), "long.tgz"))[0] == 0
    assert len(here(fresh)) == 4


def test_versions_that_differ_are_two(command: Command, fresh: str, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        data = package(value_set("v", version), profile("p", version=version), version=version)
        assert command("install", saved(tmp_path, data))[0] == 0
    code, said = command("list")
    assert said == "test.guide@1.0.0 2 resources test.guide@1.1.0 2 resources"
    code, said = command("remove", "test.guide")
    assert code == 1 and "say which version: test.guide@1.0.0, test.guide@1.1.0" in said
    assert command("remove", "test.guide@1.0.0")[0] == 0
    assert here(fresh) == {"ValueSet/v-1.1.0", "StructureDefinition/p-1.1.0"}
    code, said = command("remove", "test.guide@1.0.0")
    assert code == 1 and "is not installed; here is test.guide@1.1.0" in said


def test_a_newer_build_of_a_version_takes_away_what_it_lacks(
    command: Command, fresh: str, tmp_path: Path
) -> None:
    assert command("install", saved(tmp_path, package(value_set("v"), value_set("old"))))[0] == 0
    code, said = command("install", saved(tmp_path, package(value_set("v"), value_set("new"))))
    assert (code, said) == (0, "installed test.guide@1.0.0: 1 new, 1 deleted, 1 unchanged")
    assert here(fresh) == {"ValueSet/v", "ValueSet/new"}
    assert command("list")[1] == "test.guide@1.0.0 2 resources"


# -- dependencies

SYSTEM = "http://example.org/CodeSystem/"


def guide(**about: Any) -> bytes:
    """Uses one code system of a big package, by a value set of that."""
    used = profile("p", description="uses", differential=None)
    used["differential"] = {
        "element": [
            {
                "id": "Patient.gender",
                "path": "Patient.gender",
                "binding": {"strength": "required", "valueSet": "http://example.org/ValueSet/used|1.0.0"},
            }
        ]
    }
    return package(used, dependencies={"test.big": "1.0.x", "hl7.fhir.r4.core": "4.0.1"}, **about)


def big(version: str = "1.0.3", **about: Any) -> bytes:
    return package(
        value_set("used", "1.0.0", f"{SYSTEM}used"),
        code_system("used", "1.0.0", "a"),
        *(value_set(f"unused{number}") for number in range(20)),
        name="test.big",
        version=version,
        **about,
    )


def test_of_dependencies_comes_what_is_referred_to(command: Command, fresh: str, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for version in ("1.0.2", "1.0.3", "1.1.0"):
        saved(
            shelf,
            big(version, dependencies={"test.nowhere": "1.0.0"} if version == "1.1.0" else {}),
            f"{version}.tgz",
        )
    saved(shelf, b"no package", "broken.tgz")
    file = saved(tmp_path, guide())
    code, said = command("install", file, "--from", shelf)
    assert code == 0 and "with 2 resources of test.big@1.0.3" in said, said
    assert here(fresh) == {"StructureDefinition/p", "ValueSet/used", "CodeSystem/used"}
    assert command("list")[1] == (
        "test.big@1.0.3 2 resources, as far as needed (20 left out), for others test.guide@1.0.0 1 resources"
    )
    assert command("install", file, "--from", shelf)[1] == "test.guide@1.0.0 is here already: nothing to do"
    code, said = command("remove", "test.big")
    assert code == 1 and "test.big@1.0.3 is needed by test.guide@1.0.0" in said
    assert command("remove", "test.guide", "--dependencies") == (
        0,
        "removed test.guide@1.0.0, test.big@1.0.3: 3 resources deleted",
    )
    assert here(fresh) == set()


def test_what_is_here_in_part_is_completed(command: Command, fresh: str, tmp_path: Path) -> None:
    source = saved(tmp_path, big(), "big.tgz")
    assert command("install", saved(tmp_path, guide()), "--from", source)[0] == 0
    uses = value_set("mine", "1.0.0") | {
        "compose": {"include": [{"valueSet": ["http://example.org/ValueSet/unused7"]}]}
    }
    more = saved(tmp_path, package(uses, name="test.more", dependencies={"test.big": "1.0.3"}), "more.tgz")
    code, said = command("install", more)
    assert code == 1 and "in part only" in said
    content = saved(
        tmp_path, package(value_set("plain"), name="test.plain", dependencies={"test.big": "1.0.3"}), "p.tgz"
    )
    assert command("install", content)[0] == 0
    code, said = command("install", more, "--from", source)
    assert code == 0 and "with 3 resources of test.big@1.0.3" in said
    assert "ValueSet/unused7" in here(fresh) and "ValueSet/used" in here(fresh)
    assert command("install", source)[0] == 0
    assert len(here(fresh)) == 25
    assert "test.big@1.0.3 22 resources" in command("list")[1] and "left out" not in command("list")[1]


def test_a_missing_dependency_is_refused_unless_it_is_left_out(
    command: Command, fresh: str, tmp_path: Path
) -> None:
    file = saved(tmp_path, guide())
    code, said = command("install", file)
    assert code == 1 and "test.big@1.0.x, which test.guide@1.0.0 depends on: is nowhere to be found" in said
    assert here(fresh) == set()
    code, said = command("install", file, "--without", "test.big")
    assert code == 0 and "without: test.big@1.0.x" in said
    assert command("list")[1] == "test.guide@1.0.0 1 resources, without test.big@1.0.x"
    code, said = command("install", file, "--from", saved(tmp_path, big(), "big.tgz"))
    assert code == 0 and "with 2 resources of test.big@1.0.3" in said
    assert command("list")[1].endswith("test.guide@1.0.0 1 resources")


def test_dependencies_in_a_circle_and_for_another_fhir(command: Command, fresh: str, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    saved(shelf, big(dependencies={"test.guide": "1.0.0"}), "big.tgz")
    file = saved(shelf, guide(), "guide.tgz")
    assert command("install", file, "--from", shelf)[0] == 0
    newer = package(value_set("n"), name="test.newer", fhirVersions=["5.0.0"])
    needs = package(value_set("m"), name="test.needs", dependencies={"test.newer": "1.0.0"})
    saved(shelf, newer, "newer.tgz")
    code, said = command("install", saved(tmp_path, needs), "--from", shelf / "newer.tgz")
    assert code == 1 and "test.newer@1.0.0 is for FHIR 5.0.0" in said


@pytest.mark.parametrize("version", ["^1.0.0", "current", "file:../big", "https://example.org/big.tgz"])
def test_dependencies_that_name_no_version(command: Command, tmp_path: Path, version: str) -> None:
    needs = package(value_set("m"), dependencies={"test.big": version})
    code, said = command("install", saved(tmp_path, needs))
    assert code == 1 and f"test.big@{version}, which test.guide@1.0.0 depends on: '{version}' is" in said


# -- what is wrong with a package


def test_nothing_is_kept_of_what_is_refused(command: Command, fresh: str, tmp_path: Path) -> None:
    before = asyncio.run(figures(fresh))
    wrong = value_set("wrong") | {"status": "nonsense"}
    bad = {"name": "../etc", "version": "1.0.0"}
    for data, said_of_it in (
        (package(value_set("v"), wrong), "package/ValueSet-wrong.json: "),
        (package(value_set("v"), files={"package/../../x": b""}), "no path inside a package"),
        (package(value_set("v"), files={"package/broken.json": b"{"}), "package/broken.json"),
        (package(value_set("v"), fhirVersions=["4.3.0"]), "is for FHIR 4.3.0"),
        (package(value_set("v"), name="hl7.fhir.r4.core"), "hl7.fhir.r4.core is built in"),
        (packed({"package/package.json": manifest() | bad}), "'name'"),
        (b"no package", "is not a tar archive in gzip"),
    ):
        code, said = command("install", saved(tmp_path, data))
        assert code == 1 and said_of_it in said, said
    code, said = command("install", tmp_path / "nowhere.tgz")
    assert code == 1 and "there is no file" in said
    code, said = command("install", "nonsense")
    assert code == 1 and "'nonsense' is no name of a package" in said
    after = asyncio.run(figures(fresh))
    assert after[:5] == before[:5] and here(fresh) == set()


def test_what_is_not_valid_can_be_left_out(command: Command, fresh: str, tmp_path: Path) -> None:
    wrong = value_set("wrong") | {"status": "nonsense"}
    file = saved(tmp_path, package(value_set("v"), wrong))
    code, said = command("install", file, "--skip-invalid")
    assert code == 0 and "left out, as it is not valid: package/ValueSet-wrong.json" in said
    assert here(fresh) == {"ValueSet/v"}


def test_parameters_that_cannot_be_searched_by_are_kept(command: Command, fresh: str, tmp_path: Path) -> None:
    good = search_parameter("eye", "token", "Patient.extension.where(url = 'urn:eye').value", id="eye")
    bad = search_parameter("odd", "token", "Patient.nothing.like.it", id="odd")
    taken = search_parameter("gender", "string", "Patient.name.family", id="gender")
    draft = search_parameter("later", "token", "Patient.name.use", id="later", status="draft")
    code, said = command("install", saved(tmp_path, package(good, bad, taken, draft)))
    assert code == 0 and said.count("search parameter that is only kept") == 2, said
    assert {"SearchParameter/odd", "SearchParameter/gender"} <= here(fresh)
    in_force = asyncio.run(rows(fresh, "SELECT id FROM search_param WHERE state <> 'dropping'"))
    assert in_force == [("eye",)]
    better = search_parameter("odd", "token", "Patient.name.use", id="odd")
    command("install", saved(tmp_path, package(good, better, taken, draft)))
    in_force = asyncio.run(rows(fresh, "SELECT id FROM search_param WHERE state <> 'dropping' ORDER BY id"))
    assert in_force == [("eye",), ("odd",)]
    assert command("remove", "test.guide")[0] == 0
    assert asyncio.run(rows(fresh, "SELECT id FROM search_param WHERE state <> 'dropping'")) == []


def test_tenants_have_packages_of_their_own(command: Command, fresh: str, tmp_path: Path) -> None:
    asyncio.run(rows(fresh, "INSERT INTO tenant (name) VALUES ('north') RETURNING id"))
    file = saved(tmp_path, package(value_set("v")))
    assert command("install", file, "--tenant", "north")[0] == 0
    assert command("list")[1].startswith("no packages are installed")
    assert command("list", "--tenant", "north")[1] == "test.guide@1.0.0 1 resources"
    assert asyncio.run(rows(fresh, "SELECT tenant FROM resource")) == [(2,)]
    assert command("install", file)[0] == 0
    assert command("remove", "test.guide", "--tenant", "north")[0] == 0
    assert asyncio.run(rows(fresh, "SELECT tenant, id FROM resource WHERE died IS NULL")) == [(1, "v")]
    code, said = command("list", "--tenant", "south")
    assert code == 1 and "there is no tenant 'south'" in said
