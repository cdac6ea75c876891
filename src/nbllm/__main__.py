"""`python -m nbllm`."""

from nbllm.cli import main

if __name__ == "__main__":
    main()
