#!/usr/bin/env bash
# Installs the kiosk as a service, or brings it up to date:
# sudo ./install.sh [--from WHAT] [--dry-run] | --uninstall
#
#   --from WHAT   edgeemo: a checkout (by default the one around this file), a wheel that was made
#                 of one (pip wheel --no-deps CHECKOUT), or a requirement of your own index
#   --dry-run     say what would be done, and do nothing
#   --uninstall   take away what was installed; /etc/default/edgeemo-kiosk stays
#
# With DESTDIR=/some/folder everything is put below that folder, and no user, group or service is
# touched. PYTHON is the interpreter, by default the system's, whose picamera2 and lgpio are seen.
# pip reads its own variables, such as PIP_INDEX_URL.
set -euo pipefail
umask 022

here=$(dirname "$(realpath "$0")")
root=${DESTDIR:-}
home=$root/opt/edgeemo-kiosk
unit=$root/etc/systemd/system/edgeemo-kiosk.service
settings=$root/etc/default/edgeemo-kiosk
cache=$root/var/cache
python=${PYTHON:-/usr/bin/python3}
user=edgeemo

from=$(realpath "$here/../..")
dry=
uninstall=
while [ $# -gt 0 ]; do
    case $1 in
    --from) from=${2:?--from needs a checkout, a wheel or a requirement} && shift ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    *)
        echo "install.sh: expected --from WHAT, --dry-run or --uninstall, received $1" >&2
        exit 2
        ;;
    esac
    shift
done

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

run() {
    echo "+ $*"
    [ -n "$dry" ] || "$@"
}

# Whether users and services are ours to change, and this machine runs systemd now.
on_system() { [ -z "$root" ]; }
booted() { on_system && [ -d /run/systemd/system ]; }

check() {
    on_system && [ -z "$dry" ] && [ "$(id -u)" != 0 ] && fail "needs root; run: sudo $0"
    [ -n "$uninstall" ] && return
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
        fail "expected Python 3.10 or later as $python; name another with PYTHON=/path/to/python3"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make environments; run: sudo apt install python3-venv"
}

# pip would leave root's files in the checkout, and take what older ones left there.
copy_checkout() {
    local copy
    copy=$(mktemp -d)
    trap 'rm -rf "'"$copy"'"' EXIT
    cp -r "$from"/{pyproject.toml,README.md,LICENSE,edgeemo} "$copy"
    from=$copy
}

install_packages() {
    local wanted=("edgeemo[pi]" gpiozero)
    case $from in
    edgeemo | edgeemo[=\<\>~!]*) wanted[0]="edgeemo[pi]${from#edgeemo}" ;;
    *)
        [ -e "$from" ] || fail "$from: no such checkout or wheel"
        [ ! -d "$from" ] || copy_checkout
        wanted[0]="$(realpath "$from")[pi]"
        ;;
    esac
    # Debian 12's picamera2 is compiled for NumPy 1, and does not import beside the NumPy 2 that pip
    # would bring.
    "$python" -c 'import numpy, picamera2, sys; sys.exit(numpy.__version__ >= "2")' 2>/dev/null &&
        wanted+=("numpy<2")
    "$home/venv/bin/python" -c '' 2>/dev/null ||
        run "$python" -m venv --clear --system-site-packages "$home/venv"
    run "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade \
        "${wanted[@]}"
    [ -n "$dry" ] || "$home/venv/bin/python" -c 'import lgpio' 2>/dev/null ||
        echo "install.sh: lgpio is missing, without which there are no pins;" \
            "run: sudo apt install python3-lgpio" >&2
}

install_files() {
    run install -D -m 644 -t "$home" "$here/kiosk.py" "$here/lamp.py" "$here/README.md"
    run install -D -m 644 "$here/edgeemo-kiosk.service" "$unit"
    [ -e "$settings" ] || run install -D -m 644 /dev/stdin "$settings" <<'END'
# Settings of the kiosk; after a change: sudo systemctl restart edgeemo-kiosk
#EDGEEMO_CAMERA=auto
#EDGEEMO_DETECTOR=auto
#EDGEEMO_PIN=GPIO17
END
}

create_user() {
    local group
    for group in video gpio; do
        getent group "$group" >/dev/null || run groupadd --system "$group"
    done
    getent passwd "$user" >/dev/null ||
        run useradd --system --user-group --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin "$user"
}

# YuNet finds turned and small faces too; without it the kiosk uses Haar, so a machine without
# internet is no failure.
pull_detector() {
    run install -d "$cache"
    run env XDG_CACHE_HOME="$cache" "$home/venv/bin/edgeemo" models pull yunet ||
        echo "install.sh: no YuNet model; faces are found with Haar until" \
            "$home/venv/bin/edgeemo models pull yunet works" >&2
}

start() {
    booted || {
        echo "the service starts once the system does: systemctl enable --now edgeemo-kiosk"
        return
    }
    run systemctl daemon-reload
    run systemctl enable edgeemo-kiosk.service
    run systemctl restart --no-block edgeemo-kiosk.service
    echo "see it: systemctl status edgeemo-kiosk; journalctl -fu edgeemo-kiosk"
}

remove() {
    if booted; then run systemctl disable --now edgeemo-kiosk.service || true; fi
    run rm -rf "$unit" "$home" "$cache/edgeemo"
    if booted; then run systemctl daemon-reload; fi
    if on_system && getent passwd "$user" >/dev/null; then run userdel "$user"; fi
    [ ! -e "$settings" ] || echo "kept: $settings"
}

check
if [ -n "$uninstall" ]; then
    remove
    exit
fi
install_packages
install_files
if on_system; then create_user; fi
pull_detector
start
