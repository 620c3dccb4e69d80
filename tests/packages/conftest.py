import pythons


def pytest_report_header():
    """Say which Pythons are tried, and how to have the missing ones."""
    missing = sorted(set(pythons.SUPPORTED) - set(pythons.at_hand()), key=pythons.SUPPORTED.index)
    lines = [f"Python {version}: {found}" for version, found in pythons.at_hand().items()]
    return [*lines, *(f"Python {each} is not at hand: see SUITES" for each in missing)]
