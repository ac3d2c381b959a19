"""`python -m fhirserver` and the command `fhirserver`."""


def main() -> None:
    """Run the command line."""
    from fhirserver.cli.app import app

    app(prog_name="fhirserver")


if __name__ == "__main__":
    main()
