/* mount.nfs HOST:/DIR TARGET [-o OPTIONS]: asks the server for the folder, mounts, and serves in the background. */
#include "mount_nfs.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOUNT_FAILED = 32, PATIENCE_SECONDS = 10, LARGEST_TRANSFER = 1 << 20 };

/* What mount(8) and administrators give to NFS mounts; those of the second list the kernel's FUSE understands. */
static const char *const ignored[] = {
    "vers", "nfsvers", "proto", "hard", "soft", "timeo", "retrans", "retry", "nolock", "lock", "rsize", "wsize", "sec",
    "tcp", "port", "mountport", "mountproto", "mountvers", "noac", "ac", "actimeo", "acregmin", "acregmax", "acdirmin",
    "acdirmax", "lookupcache", "local_lock", "addr", "clientaddr", "minorversion", "fg", "intr", "nointr", "nconnect",
    "sharecache", "nosharecache", "resvport", "noresvport", "_netdev", "defaults", "user", "noauto", "auto", "bg", NULL};
static const char *const passed[] = {"rw", "ro", "nodev", "dev", "nosuid", "suid", "noexec", "exec", "noatime", NULL};

static const char *source, *target;
static char *server, *folder;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("mount.nfs: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(MOUNT_FAILED);
}

static bool among(const char *const *list, const char *word) {
    size_t length = strcspn(word, "=");
    for (; *list; list++)
        if (strlen(*list) == length && !strncmp(*list, word, length))
            return true;
    return false;
}

static void take_options(char *given, struct fuse_args *args) {
    for (char *word = strtok(given, ","); word; word = strtok(NULL, ",")) {
        if (among(passed, word)) {
            fuse_opt_add_arg(args, "-o");
            fuse_opt_add_arg(args, word);
        } else if (!among(ignored, word)) {
            die("an incorrect mount option was specified: %s", word);
        }
    }
}

static void split_source(void) {
    const char *colon = strstr(source, ":/");
    if (!colon || colon == source)
        die("remote share not in 'host:dir' format: %s", source);
    server = strndup(source, colon - source);
    folder = strdup(colon + 1);
    if (server[0] == '[' && server[strlen(server) - 1] == ']') {
        server[strlen(server) - 1] = 0;
        server++;
    }
    struct addrinfo *found;
    int error = getaddrinfo(server, NULL, NULL, &found);
    if (error)
        die("Failed to resolve server %s: %s", server, gai_strerror(error));
    freeaddrinfo(found);
}

/* ---- the two conversations before the mount: MOUNT for the folder's handle, NFS for the sizes ---- */

struct answer {
    bool arrived;
    int status;
    nfs_fh3 root;
    unsigned transfer;
};

static void await(struct rpc_context *rpc, struct answer *answer, const char *what) {
    time_t deadline = time(NULL) + PATIENCE_SECONDS;
    while (!answer->arrived) {
        struct pollfd fd = {rpc_get_fd(rpc), rpc_which_events(rpc), 0};
        poll(&fd, 1, 100);
        if (rpc_service(rpc, fd.revents) < 0)
            break;
        if (time(NULL) > deadline)
            die("%s: no answer from %s within %d s: Connection timed out", source, what, PATIENCE_SECONDS);
    }
    if (!answer->arrived || answer->status != RPC_STATUS_SUCCESS)
        die("%s: %s on %s is not reachable: %s", source, what, server, rpc_get_error(rpc));
    answer->arrived = false;
}

static void on_connect(struct rpc_context *rpc, int status, void *data, void *private) {
    (void)rpc, (void)data;
    struct answer *answer = private;
    answer->arrived = true;
    answer->status = status;
}

static void on_mount(struct rpc_context *rpc, int status, void *data, void *private) {
    struct answer *answer = private;
    on_connect(rpc, status, data, private);
    if (status != RPC_STATUS_SUCCESS)
        return;
    mountres3 *result = data;
    if (result->fhs_status == MNT3ERR_ACCES)
        die("access denied by server while mounting %s", source);
    if (result->fhs_status != MNT3_OK)
        die("mounting %s failed, reason given by server: %s", source,
            result->fhs_status == MNT3ERR_NOENT ? "No such file or directory" : strerror(result->fhs_status));
    fhandle3 *handle = &result->mountres3_u.mountinfo.fhandle;
    answer->root.data.data_len = handle->fhandle3_len;
    answer->root.data.data_val = malloc(handle->fhandle3_len);
    memcpy(answer->root.data.data_val, handle->fhandle3_val, handle->fhandle3_len);
}

static void on_fsinfo(struct rpc_context *rpc, int status, void *data, void *private) {
    struct answer *answer = private;
    on_connect(rpc, status, data, private);
    if (status != RPC_STATUS_SUCCESS)
        return;
    FSINFO3res *result = data;
    if (result->status != NFS3_OK)
        die("mounting %s failed, reason given by server: %s", source, strerror(errno_of(result->status)));
    unsigned least = result->FSINFO3res_u.resok.rtmax;
    if (result->FSINFO3res_u.resok.wtmax < least)
        least = result->FSINFO3res_u.resok.wtmax;
    answer->transfer = least < LARGEST_TRANSFER ? least : LARGEST_TRANSFER;
}

static struct rpc_context *converse(int program, int version, const char *what, struct answer *answer) {
    struct rpc_context *rpc = rpc_init_context();
    if (!rpc || rpc_connect_program_async(rpc, server, program, version, on_connect, answer) != 0)
        die("%s: %s on %s is not reachable: %s", source, what, server, rpc ? rpc_get_error(rpc) : "out of memory");
    await(rpc, answer, what);
    return rpc;
}

static struct rpc_context *ask_server(struct answer *answer) {
    struct rpc_context *rpc = converse(MOUNT_PROGRAM, MOUNT_V3, "the mount service", answer);
    if (rpc_mount3_mnt_async(rpc, on_mount, folder, answer) != 0)
        die("%s: %s", source, rpc_get_error(rpc));
    await(rpc, answer, "the mount service");
    rpc_destroy_context(rpc);
    rpc = converse(NFS_PROGRAM, NFS_V3, "the NFS service", answer);
    FSINFO3args args = {.fsroot = answer->root};
    if (rpc_nfs3_fsinfo_async(rpc, on_fsinfo, &args, answer) != 0)
        die("%s: %s", source, rpc_get_error(rpc));
    await(rpc, answer, "the NFS service");
    return rpc;
}

/* ---- after it ---- */

static void into_background(void) {
    pid_t child = fork();
    if (child < 0)
        die("fork: %s", strerror(errno));
    if (child > 0)
        _exit(0);
    setsid();
    if (chdir("/") != 0)
        _exit(MOUNT_FAILED);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    /* As a mount of the kernel's it ends by umount, or with its machine. */
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

static void serve(struct fuse_session *session) {
    struct fuse_buf buffer = {0};
    int kernel = fuse_session_fd(session);
    /* A killed process takes its request back between poll and read, and the read would wait for the next one. */
    fcntl(kernel, F_SETFL, fcntl(kernel, F_GETFL) | O_NONBLOCK);
    while (!fuse_session_exited(session)) {
        struct rpc_context *rpc = wire_context();
        struct pollfd fds[] = {{kernel, POLLIN, 0}, {-1, 0, 0}};
        if (rpc && rpc_get_fd(rpc) >= 0)
            fds[1] = (struct pollfd){rpc_get_fd(rpc), rpc_which_events(rpc), 0};
        if (poll(fds, 2, wire_timeout()) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            wire_event(fds[1].revents);
        if (fds[0].revents) {
            int got = fuse_session_receive_buf(session, &buffer);
            if (got > 0)
                fuse_session_process_buf(session, &buffer);
            else if (got != -EINTR && got != -EAGAIN)
                break;
        }
        wire_tick();
    }
}

int main(int count, char **words) {
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    char own[4200];
    int option;
    fuse_opt_add_arg(&args, words[0]);
    if (count < 3)
        die("usage: mount.nfs HOST:/DIR TARGET [-o OPTIONS]");
    source = words[1];
    target = words[2];
    optind = 3;
    while ((option = getopt(count, words, "o:vsnfwri")) != -1) {
        if (option == 'o')
            take_options(optarg, &args);
        else if (option == '?')
            die("an incorrect option was specified");
    }
    split_source();
    struct answer answer = {0};
    struct rpc_context *rpc = ask_server(&answer);
    /* libvirt compares the name with the pool's source, and counts FUSE mounts of the type quobyte as shared storage. */
    snprintf(own, sizeof own, "fsname=%s,subtype=quobyte,allow_other,max_read=%u", source, answer.transfer);
    fuse_opt_add_arg(&args, "-o");
    fuse_opt_add_arg(&args, own);
    files_start(&answer.root, answer.transfer);
    struct fuse_session *session = fuse_session_new(&args, &file_operations, sizeof file_operations, NULL);
    if (!session || fuse_session_mount(session, target) != 0)
        die("%s cannot be mounted on %s", source, target);
    into_background();
    wire_start(server, rpc);
    serve(session);
    _exit(0);
}
