# Runs in Colab's own image, from the book's folder: robustlib as the set-up cells install it, then
# every chapter. Warnings of Colab's older packages are no errors here.
set -e
python3 -m pip install --quiet nbval
python3 -m pip install --quiet --no-deps .
python3 -m pytest -W default --nbval-lax --nbval-cell-timeout=600 notebooks
