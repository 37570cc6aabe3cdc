#!/bin/bash
# Prepare this machine for `make demo` and `make test`. Quick when there is nothing to do, and safe to repeat.
#   packages   as root where apt-get is: installs Debian packages that are missing; otherwise names them and goes on,
#              as what can be done without them is still worth doing
#   guest      unpacks Debian's cloud kernel, its full kernel (for the lab's hosts) and a static busybox under .cache/lab:
#              installed, such a kernel could become the one that the host boots, and busybox-static would put another
#              busybox out
#   tracefs    as root: mounts it where it is not mounted
#   .venv      a virtual environment with vio (editable) and the development tools; compiles the report's loops, which
#              the first report would have to do
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(binutils bpftrace btrfs-progs chromium cryptsetup-bin dmsetup e2fsprogs fdisk fio iproute2 kmod lvm2 mdadm mount ntfs-3g ocfs2-tools qemu-system-x86 qemu-utils thin-provisioning-tools xfsprogs)
guest_files=.cache/lab/debian
stamp=.venv/vio-setup.stamp
is_apt_fresh=no

say() { echo "setup: $*" >&2; }

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

refresh_apt() {
    [ "$is_apt_fresh" = yes ] && return
    apt-get update -qq >&2 || say "apt-get update failed"
    is_apt_fresh=yes
}

install_packages() {
    refresh_apt
    say "installing $*"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 </dev/null
}

set_up_packages() {
    command -v dpkg-query >/dev/null || return 0
    local missing=() package
    for package in "${packages[@]}"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    if can_install; then
        install_packages "${missing[@]}" || say "could not install them: vio doctor says what will not work"
    else
        say "not root, so these stay missing: ${missing[*]}"
    fi
}

has_cloud_kernel() { compgen -G "/boot/vmlinuz-*-cloud-amd64" >/dev/null || compgen -G "$guest_files/boot/vmlinuz-*-cloud-amd64" >/dev/null; }

newest_host_modules() {
    local modules
    for modules in "$guest_files"/lib/modules/*-amd64 "$guest_files"/usr/lib/modules/*-amd64; do
        case $modules in *-cloud-amd64 | *'*'*) ;; *) echo "$modules" ;; esac
    done | sort -V | tail -n 1
}

# An installed one is there only if somebody wanted it: then it is used, and has its modules.dep.
has_host_kernel() {
    local image
    for image in /boot/vmlinuz-*-amd64; do
        case $image in *-cloud-amd64 | *'*'*) ;; *) return 0 ;; esac
    done
    [ -n "$(newest_host_modules)" ] && [ -e "$(newest_host_modules)/modules.dep" ]
}

unpack_host_kernel() {
    local modules
    [ -n "$(newest_host_modules)" ] || unpack_package "$(kernel_package linux-image-amd64)"
    modules=$(newest_host_modules)
    [ -n "$modules" ] || return 0
    # modprobe in a lab host wants an index, which the package leaves to its installation
    PATH=$PATH:/sbin:/usr/sbin depmod -b "${modules%/lib/modules/*}" "${modules##*/}" || say "depmod failed: lab hosts will not run"
}

has_static_busybox() { [ -e "$guest_files/bin/busybox" ] || [ -e "$guest_files/usr/bin/busybox" ] || is_installed busybox-static; }

kernel_package() { apt-cache depends "$1" 2>/dev/null | awk '$1 == "Depends:" && /linux-image-/ { print $2; exit }'; }

unpack_package() {
    local folder
    folder=$(mktemp -d)
    chmod 755 "$folder"
    say "unpacking $1 for the lab"
    if (cd "$folder" && apt-get download -qq "$1" >&2 2>/dev/null); then
        mkdir -p "$guest_files"
        dpkg-deb --extract "$folder"/*.deb "$guest_files"
    else
        say "could not get $1: the lab will not run"
    fi
    rm -r "$folder"
}

set_up_guest() {
    command -v apt-get >/dev/null || return 0
    has_cloud_kernel && has_static_busybox && has_host_kernel && return
    ! can_install || refresh_apt
    has_static_busybox || unpack_package busybox-static
    has_cloud_kernel || unpack_package "$(kernel_package linux-image-cloud-amd64)"
    has_host_kernel || unpack_host_kernel
}

set_up_tracefs() {
    [ "$(id -u)" = 0 ] && [ -d /sys/kernel/tracing ] && [ ! -e /sys/kernel/tracing/trace ] || return 0
    mount -t tracefs nodev /sys/kernel/tracing || say "could not mount tracefs on /sys/kernel/tracing"
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in python3.11 python3 python3.12 python3.13 python3.14; do
        if is_new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    say "no Python 3.11 or newer"
    return 1
}

make_venv() {
    .venv/bin/python -c 'import pip' 2>/dev/null && return
    local python
    python=$(find_python)
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        can_install || { say "$python has no venv: install python3-venv, as root"; return 1; }
        install_packages python3-venv
    fi
    "$python" -m venv --clear .venv
}

set_up_venv() {
    # The tools lie behind the directory's name too: a tree that was moved is set up anew.
    local wanted
    wanted="$(pwd) $(sha256sum <pyproject.toml)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "installing vio and its development tools into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
    compile_loops
    echo "$wanted" >"$stamp"
}

compile_loops() {
    local folder
    folder=$(mktemp -d)
    say "compiling the report's loops"
    # Python keeps what it compiles too, but not where PYTHONDONTWRITEBYTECODE is set, as in many containers.
    .venv/bin/python -m compileall -q src/vio src/vio/*/ || say "could not compile vio"
    cp -r reporter/sample/demo.vio "$folder"
    .venv/bin/vio report "$folder/demo.vio" >/dev/null || say "could not make a report"
    .venv/bin/vio compare "$folder/demo.vio" "$folder/demo.vio" >/dev/null || say "could not compare"
    rm -r "$folder"
}

set_up_packages
set_up_tracefs
make_venv
set_up_guest &
set_up_venv
wait $!
