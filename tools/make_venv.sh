# Makes a virtual environment from a locked list:  sh tools/make_venv.sh FOLDER REQUIREMENTS
# Setuptools comes first: one package of the list is built here, and with the locked setuptools.
set -e
folder=$1
requirements=$2
python=$(sh tools/find_python.sh)
echo "[env] Making $folder with $("$python" --version) and installing $requirements: 1 to 5 minutes."
rm -rf "$folder"
"$python" -m venv "$folder"
sed -nE '/^(setuptools|wheel)==/,/[^\\]$/p' "$requirements" > "$folder/build-requirements.txt"
for list in "$folder/build-requirements.txt" "$requirements"; do
    "$folder/bin/python" -m pip install --quiet --no-deps --require-hashes --no-compile \
        --no-build-isolation --requirement "$list"
done
