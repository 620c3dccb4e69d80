"""The list of recipes is complete."""


def test_every_recipe_is_in_the_list(pytestconfig):
    folder = pytestconfig.rootpath / "docs/how-to/recipes"
    listed = (folder / "README.md").read_text()
    pages = {page.name for page in folder.glob("*.md")} - {"README.md"}
    assert [name for name in sorted(pages) if f"({name})" not in listed] == []
