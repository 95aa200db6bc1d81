# Runs in Colab's own image, from the book's folder. Each chapter starts without robustlib, and its
# set-up cell installs it from a bare clone, in which the last commit carries the release's tag.
set -e
# Without hashes: all the other packages are the image's own.
python3 -m pip install --quiet "$(sed -nE 's/^(nbval==[^ ]+).*/\1/p' requirements.txt)"
version=$(sed -nE 's/^version = "(.*)"/\1/p' pyproject.toml)
work=$(mktemp -d)
git config --global --add safe.directory '*'  # the mounted folder belongs to another user
git clone --quiet --bare --reject-shallow . "$work/robustlib.git"
git -C "$work/robustlib.git" tag --force "v$version" HEAD
export ROBUSTLIB_REPOSITORY="file://$work/robustlib.git"

# Away from the book's folder, where robustlib would be found without being installed.
cp -r notebooks "$work"
cd "$work"
failed=0
for notebook in notebooks/*.ipynb; do
    python3 -m pip uninstall -qq --yes robustlib
    python3 -m pip freeze --all >"$work/before"
    ROBUSTLIB_CACHE=$(mktemp -d) \
        python3 -m pytest --nbval-lax --nbval-cell-timeout=600 "$notebook" || failed=1
    # The set-up cell adds robustlib and changes nothing else.
    python3 -m pip freeze --all | grep -v '^robustlib ' | diff "$work/before" - || failed=1
done
exit $failed
