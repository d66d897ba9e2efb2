/* Calls and the connection under them: sent again over a new connection when the old one fails, for ever. */
#include "mount_nfs.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    CONNECT_MS = 2000,    /* a connection that is not there by then is tried anew */
    PAUSE_MS = 300,       /* between attempts */
    UNACKNOWLEDGED_MS = 3000, /* or TCP's own back-off would add its half minute to an outage */
    KILL_CHECK_MS = 200,
};

static struct call *calls;
static char *server;
static struct rpc_context *rpc;
static enum { DOWN, CONNECTING, UP } state;
static bool broken, some_wait;
static int64_t since; /* of the state, in ms */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void enter(int next) {
    state = next;
    since = now_ms();
}

/* ---- calls ---- */

/* Only SIGKILL counts: QEMU's signals interrupt system calls all the time, and an open that fails with EINTR ends it. */
static bool being_killed(pid_t pid) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    bool killed = false;
    unsigned long long pending;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "SigPnd: %llx", &pending) == 1 || sscanf(line, "ShdPnd: %llx", &pending) == 1)
            killed = killed || (pending & (1ULL << 8));
    fclose(file);
    return killed;
}

static void release(struct call *call) {
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    free(call->name);
    free(call->other_name);
    free(call->data);
    free(call);
}

static void interrupt(fuse_req_t req, void *data) {
    (void)req;
    ((struct call *)data)->interrupted = true; /* looked at by wire_tick: not here, libfuse holds its lock */
}

struct call *call_new(fuse_req_t req, const struct handle *file, const char *name) {
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        abort();
    call->req = req;
    call->pid = fuse_req_ctx(req)->pid;
    call->file = *file;
    call->name = name ? strdup(name) : NULL;
    call->next = calls;
    call->link = &calls;
    if (calls)
        calls->link = &call->next;
    calls = call;
    return call;
}

static void connect_now(void);

void call_again(struct call *call) {
    fuse_req_interrupt_func(call->req, interrupt, call);
    if (state == UP && !broken && call->send(rpc, call) == 0) {
        call->in_flight = true;
        call->attempts++;
        return;
    }
    call->in_flight = false;
    if (state == UP)
        broken = true;
    if (state == DOWN && now_ms() - since >= PAUSE_MS)
        connect_now();
}

void call_answered(struct call *call) {
    call->req = NULL;
    if (!call->in_flight)
        release(call);
}

void answered(struct rpc_context *context, int status, void *data, void *private) {
    (void)context;
    struct call *call = private;
    call->in_flight = false;
    if (!call->req) {
        release(call);
    } else if (status != RPC_STATUS_SUCCESS) {
        broken = true;
    } else if (*(nfsstat3 *)data == NFS3ERR_JUKEBOX) {
        some_wait = true; /* "try again later": wire_tick sends it again */
    } else {
        call->done(call, data);
    }
}

/* ---- the connection ---- */

static void set_socket(void) {
    int fd = rpc_get_fd(rpc), yes = 1, unacknowledged = UNACKNOWLEDGED_MS, idle = 3, interval = 1, count = 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof unacknowledged);
}

static void send_waiting(void) {
    for (struct call *call = calls; call && !broken; call = call->next)
        if (call->req && !call->in_flight)
            call_again(call);
}

static void connected(struct rpc_context *context, int status, void *data, void *private) {
    (void)data, (void)private;
    if (context != rpc || state != CONNECTING)
        return;
    if (status != RPC_STATUS_SUCCESS) {
        broken = true;
        return;
    }
    set_socket();
    enter(UP);
    send_waiting();
}

static void connect_now(void) {
    enter(CONNECTING);
    rpc = rpc_init_context();
    if (!rpc || rpc_connect_program_async(rpc, server, NFS_PROGRAM, NFS_V3, connected, NULL) != 0)
        broken = true;
}

static void disconnect(void) {
    struct rpc_context *old = rpc;
    rpc = NULL;
    enter(DOWN);
    broken = true; /* while the calls come back cancelled nothing may be sent */
    if (old)
        rpc_destroy_context(old);
    broken = false;
}

void wire_start(const char *name, struct rpc_context *ready) {
    server = strdup(name);
    rpc = ready;
    enter(UP);
    set_socket();
}

struct rpc_context *wire_context(void) {
    return state == DOWN ? NULL : rpc;
}

void wire_event(int revents) {
    if (rpc && rpc_service(rpc, revents) < 0)
        broken = true;
}

int wire_timeout(void) {
    bool waits = some_wait || broken;
    for (struct call *call = calls; call && !waits; call = call->next)
        waits = call->interrupted || !call->in_flight;
    return waits || state == CONNECTING ? KILL_CHECK_MS : -1;
}

void wire_tick(void) {
    if (state == CONNECTING && now_ms() - since > CONNECT_MS)
        broken = true;
    if (broken)
        disconnect();
    some_wait = false;
    bool wanted = false;
    for (struct call *call = calls, *next; call; call = next) {
        next = call->next;
        if (call->req && call->interrupted && being_killed(call->pid)) {
            fuse_reply_err(call->req, EINTR);
            call_answered(call);
            continue;
        }
        wanted = wanted || (call->req && !call->in_flight);
    }
    if (!wanted)
        return;
    if (state == UP)
        send_waiting();
    else if (state == DOWN && now_ms() - since >= PAUSE_MS)
        connect_now();
}
