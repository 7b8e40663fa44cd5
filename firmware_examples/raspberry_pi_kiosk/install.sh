#!/usr/bin/env bash
# Installs the kiosk as a service, or brings it up to date:
# sudo ./install.sh [--page] [--from WHAT] [--dry-run] | --uninstall
#
#   --page        not the lamp, but edgeemo serve, and its page on the screen where cage and chromium
#                 are installed
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
units=$root/etc/systemd/system
settings=$root/etc/default/edgeemo-kiosk
python=${PYTHON:-/usr/bin/python3}
user=edgeemo
services=(edgeemo-kiosk)
extras=pi
pins=gpiozero

from=$(realpath "$here/../..")
dry=
uninstall=
while [ $# -gt 0 ]; do
    case $1 in
    --from) from=${2:?--from needs a checkout, a wheel or a requirement} && shift ;;
    --page) services=(edgeemo-serve edgeemo-page) && extras=pi,serve,mqtt pins= ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    *)
        echo "install.sh: expected --page, --from WHAT, --dry-run or --uninstall, received $1" >&2
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
    local wanted=("edgeemo[$extras]" ${pins:+"$pins"})
    case $from in
    edgeemo | edgeemo[=\<\>~!]*) wanted[0]="edgeemo[$extras]${from#edgeemo}" ;;
    *)
        [ -e "$from" ] || fail "$from: no such checkout or wheel"
        [ ! -d "$from" ] || copy_checkout
        wanted[0]="$(realpath "$from")[$extras]"
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
    [ -n "$dry" ] || [ -z "$pins" ] || "$home/venv/bin/python" -c 'import lgpio' 2>/dev/null ||
        echo "install.sh: lgpio is missing, without which there are no pins;" \
            "run: sudo apt install python3-lgpio" >&2
    command -v gst-launch-1.0 >/dev/null ||
        echo "install.sh: a USB camera needs GStreamer; run: sudo apt install gstreamer1.0-tools" \
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good" >&2
}

install_files() {
    run install -D -m 644 -t "$home" "$here/kiosk.py" "$here/lamp.py" "$here/README.md"
    local service
    for service in "${services[@]}"; do
        run install -D -m 644 "$here/$service.service" "$units/$service.service"
    done
    [ -e "$settings" ] || run install -D -m 644 /dev/stdin "$settings" <<'END'
# Settings of the kiosk; after a change: sudo systemctl restart edgeemo-kiosk
#EDGEEMO_CAMERA=auto
#EDGEEMO_DETECTOR=auto
#EDGEEMO_PIN=GPIO17
# Of edgeemo serve: options, see edgeemo serve --help.
#EDGEEMO_SERVE=--camera csi --lang es
#EDGEEMO_PAGE=http://127.0.0.1:8765/?kiosk&lang=es
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
    if [ "${services[0]}" = edgeemo-kiosk ] || getent passwd edgeemo-page >/dev/null; then return; fi
    # It logs in at the screen, by its service alone.
    run useradd --system --user-group --groups video --no-create-home \
        --home-dir /var/lib/edgeemo-page --shell /bin/bash edgeemo-page
}

# Of two that need the camera the one that was asked for last goes on.
start() {
    booted || {
        echo "the services start once the system does: systemctl enable --now ${services[*]}"
        return
    }
    run systemctl daemon-reload
    [ "${services[0]}" = edgeemo-kiosk ] ||
        run systemctl disable --now edgeemo-kiosk.service 2>/dev/null || true
    local service
    for service in "${services[@]}"; do
        if [ "$service" = edgeemo-page ] && ! command -v cage >/dev/null; then
            echo "install.sh: no cage, so no page on the screen;" \
                "run: sudo apt install cage chromium curl, and $0 --page again" >&2
            continue
        fi
        run systemctl enable "$service.service"
        run systemctl restart --no-block "$service.service"
        echo "see it: systemctl status $service; journalctl -fu $service"
    done
}

remove() {
    local all=(edgeemo-kiosk edgeemo-serve edgeemo-page) service
    for service in "${all[@]}"; do
        [ -e "$units/$service.service" ] || continue
        if booted; then run systemctl disable --now "$service.service" || true; fi
        run rm -f "$units/$service.service"
    done
    run rm -rf "$home" "$root/var/cache/edgeemo" "$root/var/lib/edgeemo" "$root/var/lib/edgeemo-page"
    if booted; then run systemctl daemon-reload; fi
    if on_system; then
        for service in "$user" edgeemo-page; do
            if getent passwd "$service" >/dev/null; then run userdel "$service"; fi
        done
    fi
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
start
