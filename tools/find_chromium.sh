# Prints the Chromium that the tests in a browser use, or says what to install.
for name in chromium chromium-browser google-chrome; do
    command -v "$name" && exit 0
done
echo "[test-browser] There is no Chromium here: install it, on Debian with apt-get install chromium." >&2
exit 1
