# Prints the first Python 3.11, 3.12 or 3.13 that works. Each one is tried, not looked up: a
# version manager's stand-in is found on the path and then may refuse to run.
# With PYTHON set, only that one is tried. VERSIONS narrows the choice, as in VERSIONS=3.13.
check='
import ensurepip, sys, venv
sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1].split())
'
versions=${VERSIONS:-3.11 3.12 3.13}
if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3 python3.13 python3.12 python3.11 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[123].*/bin/python
fi
for python in "$@"; do
    if "$python" -c "$check" "$versions" >/dev/null 2>&1; then
        echo "$python"
        exit 0
    fi
done
echo "No Python of version $versions that works and has its venv module (tried: $*)." >&2
echo "Install one, or say where it is, as in: make env PYTHON=/path/to/python3.12" >&2
exit 1
