/* Reading, writing, removing, renaming and listing. */
#include "mount_nfs.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* ---- content: never cached here, so that every host sees what another has written ---- */

void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open) {
    (void)ino;
    open->direct_io = 1;
    fuse_reply_open(req, open);
}

static int send_read(struct rpc_context *rpc, struct call *call) {
    READ3args args = {.file = wire_handle(&call->file), .offset = call->offset + call->got};
    args.count = call->size - call->got;
    return rpc_nfs3_read_async(rpc, answered, &args, call);
}

/* A short answer that is not the end is asked on: for the kernel a short read is the end of the file. */
static void done_read(struct call *call, void *data) {
    READ3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    READ3resok *ok = &result->READ3res_u.resok;
    size_t count = ok->data.data_len < call->size - call->got ? ok->data.data_len : call->size - call->got;
    bool whole = ok->eof || count == 0 || call->got + count == call->size;
    if (whole && call->got == 0) {
        fuse_reply_buf(call->req, ok->data.data_val, count);
        return call_answered(call);
    }
    if (!call->data && !(call->data = malloc(call->size)))
        return fail(call, ENOMEM);
    memcpy(call->data + call->got, ok->data.data_val, count);
    call->got += count;
    if (!whole)
        return call_again(call);
    fuse_reply_buf(call->req, call->data, call->got);
    call_answered(call);
}

void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *open) {
    (void)open;
    struct call *call = call_new(req, handle_of(ino), NULL);
    call->size = size < transfer ? size : transfer;
    call->offset = offset;
    call->send = send_read, call->done = done_read;
    call_again(call);
}

/* UNSTABLE: the server may keep it in memory until COMMIT. The kernel under the lab's server outlives it, so what the
 * server has answered is never lost and its write verifier needs no watching. */
static int send_write(struct rpc_context *rpc, struct call *call) {
    WRITE3args args = {.file = wire_handle(&call->file), .offset = call->offset + call->got, .stable = UNSTABLE};
    args.count = args.data.data_len = call->size - call->got;
    args.data.data_val = call->data + call->got;
    return rpc_nfs3_write_async(rpc, answered, &args, call);
}

static void done_write(struct call *call, void *data) {
    WRITE3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    size_t count = result->WRITE3res_u.resok.count;
    call->got += count;
    if (count > 0 && call->got < call->size)
        return call_again(call);
    fuse_reply_write(call->req, call->got);
    call_answered(call);
}

void file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                struct fuse_file_info *open) {
    (void)open;
    struct call *call = call_new(req, handle_of(ino), NULL);
    call->size = size;
    call->offset = offset;
    call->data = malloc(size ? size : 1);
    if (!call->data)
        abort();
    memcpy(call->data, data, size);
    call->send = send_write, call->done = done_write;
    call_again(call);
}

static int send_commit(struct rpc_context *rpc, struct call *call) {
    COMMIT3args args = {.file = wire_handle(&call->file)};
    return rpc_nfs3_commit_async(rpc, answered, &args, call);
}

/* COMMIT, REMOVE, RMDIR and RENAME: only the status, which comes first in every result, is told. */
static void done_status(struct call *call, void *data) {
    fail(call, errno_of(*(nfsstat3 *)data));
}

void file_fsync(fuse_req_t req, fuse_ino_t ino, int only_data, struct fuse_file_info *open) {
    (void)only_data, (void)open;
    struct call *call = call_new(req, handle_of(ino), NULL);
    call->send = send_commit, call->done = done_status;
    call_again(call);
}

/* ---- names that go or move: a second attempt that finds nothing finds what the first one did ---- */

static void done_gone(struct call *call, void *data) {
    nfsstat3 status = *(nfsstat3 *)data;
    fail(call, status == NFS3ERR_NOENT && call->attempts > 1 ? 0 : errno_of(status));
}

static int send_remove(struct rpc_context *rpc, struct call *call) {
    REMOVE3args args = {.object = {wire_handle(&call->file), call->name}};
    return rpc_nfs3_remove_async(rpc, answered, &args, call);
}

void file_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct call *call = call_new(req, handle_of(parent), name);
    call->send = send_remove, call->done = done_gone;
    call_again(call);
}

static int send_rmdir(struct rpc_context *rpc, struct call *call) {
    RMDIR3args args = {.object = {wire_handle(&call->file), call->name}};
    return rpc_nfs3_rmdir_async(rpc, answered, &args, call);
}

void file_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct call *call = call_new(req, handle_of(parent), name);
    call->send = send_rmdir, call->done = done_gone;
    call_again(call);
}

static int send_rename(struct rpc_context *rpc, struct call *call) {
    RENAME3args args = {.from = {wire_handle(&call->file), call->name}};
    args.to = (diropargs3){wire_handle(&call->other), call->other_name};
    return rpc_nfs3_rename_async(rpc, answered, &args, call);
}

void file_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                 unsigned flags) {
    if (flags) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct call *call = call_new(req, handle_of(parent), name);
    call->other = *handle_of(new_parent);
    call->other_name = strdup(new_name);
    call->send = send_rename, call->done = done_gone;
    call_again(call);
}

static int send_link(struct rpc_context *rpc, struct call *call) {
    LINK3args args = {.file = wire_handle(&call->file), .link = {wire_handle(&call->other), call->name}};
    return rpc_nfs3_link_async(rpc, answered, &args, call);
}

static void done_link(struct call *call, void *data) {
    nfsstat3 status = *(nfsstat3 *)data;
    if (status != NFS3_OK && !(status == NFS3ERR_EXIST && call->attempts > 1))
        return fail(call, errno_of(status));
    call->send = send_getattr, call->done = done_getattr_of_entry;
    call_again(call);
}

void file_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name) {
    struct call *call = call_new(req, handle_of(ino), new_name);
    call->other = *handle_of(new_parent);
    call->send = send_link, call->done = done_link;
    call_again(call);
}

/* ---- the whole ---- */

static int send_statfs(struct rpc_context *rpc, struct call *call) {
    FSSTAT3args args = {.fsroot = wire_handle(&call->file)};
    return rpc_nfs3_fsstat_async(rpc, answered, &args, call);
}

static void done_statfs(struct call *call, void *data) {
    FSSTAT3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    FSSTAT3resok *ok = &result->FSSTAT3res_u.resok;
    struct statvfs stat = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};
    stat.f_blocks = ok->tbytes / 4096;
    stat.f_bfree = ok->fbytes / 4096;
    stat.f_bavail = ok->abytes / 4096;
    stat.f_files = ok->tfiles;
    stat.f_ffree = ok->ffiles;
    stat.f_favail = ok->afiles;
    fuse_reply_statfs(call->req, &stat);
    call_answered(call);
}

void file_statfs(fuse_req_t req, fuse_ino_t ino) {
    struct call *call = call_new(req, handle_of(ino), NULL);
    call->send = send_statfs, call->done = done_statfs;
    call_again(call);
}

/* ---- folders: the handle of an open one keeps the server's verifier of its cookies ---- */

void dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open) {
    (void)ino;
    char *verifier = calloc(1, NFS3_COOKIEVERFSIZE);
    open->fh = (uintptr_t)verifier;
    if (fuse_reply_open(req, open))
        free(verifier);
}

void dir_close(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open) {
    (void)ino;
    free((char *)(uintptr_t)open->fh);
    fuse_reply_err(req, 0);
}

/* The verifier is copied into the call: a killed reader's folder may be closed before the server answers. */
static int send_readdir(struct rpc_context *rpc, struct call *call) {
    READDIR3args args = {.dir = wire_handle(&call->file), .cookie = call->offset, .count = 8192};
    memcpy(args.cookieverf, call->data, NFS3_COOKIEVERFSIZE);
    return rpc_nfs3_readdir_async(rpc, answered, &args, call);
}

static void done_readdir(struct call *call, void *data) {
    READDIR3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    READDIR3resok *ok = &result->READDIR3res_u.resok;
    memcpy((char *)(uintptr_t)call->open.fh, ok->cookieverf, NFS3_COOKIEVERFSIZE);
    char *buffer = malloc(call->size);
    if (!buffer)
        return fail(call, ENOMEM);
    size_t used = 0;
    for (entry3 *entry = ok->reply.entries; entry; entry = entry->nextentry) {
        struct stat stat = {.st_ino = entry->fileid};
        size_t more = fuse_add_direntry(call->req, buffer + used, call->size - used, entry->name, &stat, entry->cookie);
        if (more > call->size - used)
            break;
        used += more;
    }
    fuse_reply_buf(call->req, buffer, used);
    free(buffer);
    call_answered(call);
}

void dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *open) {
    struct call *call = call_new(req, handle_of(ino), NULL);
    call->size = size;
    call->offset = offset;
    call->open = *open;
    call->data = malloc(NFS3_COOKIEVERFSIZE);
    if (!call->data)
        abort();
    memcpy(call->data, (char *)(uintptr_t)open->fh, NFS3_COOKIEVERFSIZE);
    call->send = send_readdir, call->done = done_readdir;
    call_again(call);
}
