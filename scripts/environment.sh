# Sourced by the scripts beside it: makes a virtual environment once, and again whenever
# pyproject.toml changes.
# usage: environment FOLDER EXTRAS [PIP ARGUMENTS...]

# Some containers set it. Each of the suite's programs would then compile TensorFlow, JAX and OpenCV
# anew, which takes three times as long as importing them.
unset PYTHONDONTWRITEBYTECODE

find_python() {
    local candidate fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c "$fits" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "edgeemo needs Python 3.11, 3.12 or 3.13 and found none; install one (Debian: apt-get" \
        "install python3 python3-venv) or set PYTHON=/path/to/python3" >&2
    return 1
}

pip_install() {
    local folder=$1
    shift
    # Not compiled: most of what comes is never imported, and what is gets compiled then. What
    # setuptools says of an editable installation is for those who make packages.
    PYTHONWARNINGS=ignore "$folder/bin/python" -m pip install --quiet \
        --disable-pip-version-check --no-compile "$@"
}

environment() {
    local folder=$1 extras=$2 python stamp
    shift 2
    stamp="$(cksum < pyproject.toml) $extras $*"
    # The stamp is written last, so that an interrupted installation is done again.
    if [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    python=$(find_python)
    echo "installing edgeemo[$extras] into $folder (once) ..." >&2
    if ! "$python" -m venv --clear "$folder"; then
        echo "$python makes no virtual environment; on Debian: apt-get install python3-venv" >&2
        return 1
    fi
    # That of Python 3.11 takes twice as long for what follows.
    pip_install "$folder" --upgrade pip || echo "pip stays as it is" >&2
    pip_install "$folder" -e ".[$extras]"
    if [ $# -gt 0 ]; then
        pip_install "$folder" "$@"
    fi
    echo "$stamp" > "$folder/stamp"
}
