/* The file system: each request of the kernel is one NFS call, sometimes followed by a second. */
#include "mount_nfs.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

enum { BUCKETS = 4096 };

/* What the kernel knows by a number: the address of this. The same file has the same node while the kernel knows it. */
struct node {
    struct node *next;
    struct handle handle;
    uint64_t known;
};

static struct handle root;
static struct node *table[BUCKETS];
unsigned transfer;

int errno_of(nfsstat3 status) {
    return status == NFS3_OK ? 0 : -nfsstat3_to_errno(status);
}

static unsigned bucket(const struct handle *handle) {
    unsigned hash = 2166136261u;
    for (unsigned i = 0; i < handle->length; i++)
        hash = (hash ^ (unsigned char)handle->bytes[i]) * 16777619u;
    return hash % BUCKETS;
}

static struct node *node_of(const struct handle *handle) {
    struct node **first = &table[bucket(handle)];
    for (struct node *node = *first; node; node = node->next)
        if (node->handle.length == handle->length && !memcmp(node->handle.bytes, handle->bytes, handle->length))
            return node;
    struct node *node = calloc(1, sizeof *node);
    if (!node)
        abort();
    node->handle = *handle;
    node->next = *first;
    return *first = node;
}

static void forget_node(struct node *node, uint64_t count) {
    node->known -= count < node->known ? count : node->known;
    if (node->known)
        return;
    for (struct node **at = &table[bucket(&node->handle)]; *at; at = &(*at)->next)
        if (*at == node) {
            *at = node->next;
            free(node);
            return;
        }
}

const struct handle *handle_of(fuse_ino_t ino) {
    return ino == FUSE_ROOT_ID ? &root : &((struct node *)(uintptr_t)ino)->handle;
}

static void copy_handle(struct handle *to, const nfs_fh3 *from) {
    to->length = from->data.data_len;
    memcpy(to->bytes, from->data.data_val, to->length);
}

nfs_fh3 wire_handle(struct handle *handle) {
    return (nfs_fh3){.data = {handle->length, handle->bytes}};
}

static struct stat stat_of(const fattr3 *from) {
    static const mode_t types[] = {0, S_IFREG, S_IFDIR, S_IFBLK, S_IFCHR, S_IFLNK, S_IFSOCK, S_IFIFO};
    struct stat to = {.st_ino = from->fileid, .st_nlink = from->nlink, .st_uid = from->uid, .st_gid = from->gid};
    to.st_mode = (from->mode & 07777) | (from->type < 8 ? types[from->type] : 0);
    to.st_size = from->size;
    to.st_blocks = from->used / 512;
    to.st_blksize = transfer;
    to.st_atim = (struct timespec){from->atime.seconds, from->atime.nseconds};
    to.st_mtim = (struct timespec){from->mtime.seconds, from->mtime.nseconds};
    to.st_ctim = (struct timespec){from->ctime.seconds, from->ctime.nseconds};
    return to;
}

void fail(struct call *call, int error) {
    fuse_reply_err(call->req, error);
    call_answered(call);
}

/* ---- attributes ---- */

int send_getattr(struct rpc_context *rpc, struct call *call) {
    GETATTR3args args = {.object = wire_handle(&call->file)};
    return rpc_nfs3_getattr_async(rpc, answered, &args, call);
}

static void reply_attributes(struct call *call, const fattr3 *attributes) {
    struct stat stat = stat_of(attributes);
    fuse_reply_attr(call->req, &stat, 0);
    call_answered(call);
}

static void done_getattr(struct call *call, void *data) {
    GETATTR3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    reply_attributes(call, &result->GETATTR3res_u.resok.obj_attributes);
}

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open) {
    (void)open;
    struct call *call = call_new(req, handle_of(ino), NULL);
    call->send = send_getattr, call->done = done_getattr;
    call_again(call);
}

static int send_setattr(struct rpc_context *rpc, struct call *call) {
    SETATTR3args args = {.object = wire_handle(&call->file), .new_attributes = call->attributes};
    return rpc_nfs3_setattr_async(rpc, answered, &args, call);
}

static void done_setattr(struct call *call, void *data) {
    SETATTR3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    post_op_attr *after = &result->SETATTR3res_u.resok.obj_wcc.after;
    if (after->attributes_follow)
        return reply_attributes(call, &after->post_op_attr_u.attributes);
    call->send = send_getattr, call->done = done_getattr;
    call_again(call);
}

static void setattr(fuse_req_t req, fuse_ino_t ino, struct stat *stat, int what, struct fuse_file_info *open) {
    (void)open;
    struct call *call = call_new(req, handle_of(ino), NULL);
    sattr3 *to = &call->attributes;
    to->mode.set_it = !!(what & FUSE_SET_ATTR_MODE);
    to->mode.set_mode3_u.mode = stat->st_mode & 07777;
    to->uid.set_it = !!(what & FUSE_SET_ATTR_UID);
    to->uid.set_uid3_u.uid = stat->st_uid;
    to->gid.set_it = !!(what & FUSE_SET_ATTR_GID);
    to->gid.set_gid3_u.gid = stat->st_gid;
    to->size.set_it = !!(what & FUSE_SET_ATTR_SIZE);
    to->size.set_size3_u.size = stat->st_size;
    to->atime.set_it = what & FUSE_SET_ATTR_ATIME_NOW ? SET_TO_SERVER_TIME
                       : what & FUSE_SET_ATTR_ATIME   ? SET_TO_CLIENT_TIME
                                                      : DONT_CHANGE;
    to->atime.set_atime_u.atime = (nfstime3){stat->st_atim.tv_sec, stat->st_atim.tv_nsec};
    to->mtime.set_it = what & FUSE_SET_ATTR_MTIME_NOW ? SET_TO_SERVER_TIME
                       : what & FUSE_SET_ATTR_MTIME   ? SET_TO_CLIENT_TIME
                                                      : DONT_CHANGE;
    to->mtime.set_mtime_u.mtime = (nfstime3){stat->st_mtim.tv_sec, stat->st_mtim.tv_nsec};
    call->send = send_setattr, call->done = done_setattr;
    call_again(call);
}

/* ---- names ---- */

static void reply_entry(struct call *call, const struct handle *handle, const fattr3 *attributes) {
    struct node *node = node_of(handle);
    struct fuse_entry_param entry = {.ino = (uintptr_t)node, .attr = stat_of(attributes)};
    node->known++;
    int failed = call->opens ? fuse_reply_create(call->req, &entry, &call->open) : fuse_reply_entry(call->req, &entry);
    if (failed)
        forget_node(node, 1);
    call_answered(call);
}

static int send_lookup(struct rpc_context *rpc, struct call *call) {
    LOOKUP3args args = {.what = {wire_handle(&call->file), call->name}};
    return rpc_nfs3_lookup_async(rpc, answered, &args, call);
}

void done_getattr_of_entry(struct call *call, void *data) {
    GETATTR3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    reply_entry(call, &call->file, &result->GETATTR3res_u.resok.obj_attributes);
}

static void done_lookup(struct call *call, void *data) {
    LOOKUP3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    LOOKUP3resok *found = &result->LOOKUP3res_u.resok;
    struct handle handle;
    copy_handle(&handle, &found->object);
    if (found->obj_attributes.attributes_follow)
        return reply_entry(call, &handle, &found->obj_attributes.post_op_attr_u.attributes);
    call->file = handle;
    call->send = send_getattr, call->done = done_getattr_of_entry;
    call_again(call);
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct call *call = call_new(req, handle_of(parent), name);
    call->send = send_lookup, call->done = done_lookup;
    call_again(call);
}

/* CREATE, MKDIR and SYMLINK answer alike. A second attempt that finds the name there found what the first one made. */
static void made(struct call *call, nfsstat3 status, const post_op_fh3 *handle, const post_op_attr *attributes) {
    if (status != NFS3_OK && !(status == NFS3ERR_EXIST && call->attempts > 1))
        return fail(call, errno_of(status));
    if (status == NFS3_OK && handle->handle_follows && attributes->attributes_follow) {
        struct handle copy;
        copy_handle(&copy, &handle->post_op_fh3_u.handle);
        return reply_entry(call, &copy, &attributes->post_op_attr_u.attributes);
    }
    call->send = send_lookup, call->done = done_lookup;
    call_again(call);
}

static sattr3 mode_only(mode_t mode) {
    sattr3 attributes = {.mode = {.set_it = 1, .set_mode3_u.mode = mode & 07777}};
    return attributes;
}

static int send_create(struct rpc_context *rpc, struct call *call) {
    CREATE3args args = {.where = {wire_handle(&call->file), call->name}};
    args.how.mode = call->exclusive ? GUARDED : UNCHECKED;
    args.how.createhow3_u.obj_attributes = mode_only(call->mode);
    return rpc_nfs3_create_async(rpc, answered, &args, call);
}

static void done_create(struct call *call, void *data) {
    CREATE3res *result = data;
    CREATE3resok *ok = &result->CREATE3res_u.resok;
    made(call, result->status, &ok->obj, &ok->obj_attributes);
}

static void create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *open) {
    struct call *call = call_new(req, handle_of(parent), name);
    call->mode = mode;
    call->exclusive = open->flags & O_EXCL;
    call->opens = true;
    call->open = *open;
    call->open.direct_io = 1;
    call->send = send_create, call->done = done_create;
    call_again(call);
}

static void mknod_file(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device) {
    (void)device;
    if (!S_ISREG(mode)) {
        fuse_reply_err(req, EPERM);
        return;
    }
    struct call *call = call_new(req, handle_of(parent), name);
    call->mode = mode;
    call->exclusive = true;
    call->send = send_create, call->done = done_create;
    call_again(call);
}

static int send_mkdir(struct rpc_context *rpc, struct call *call) {
    MKDIR3args args = {.where = {wire_handle(&call->file), call->name}, .attributes = mode_only(call->mode)};
    return rpc_nfs3_mkdir_async(rpc, answered, &args, call);
}

static void done_mkdir(struct call *call, void *data) {
    MKDIR3res *result = data;
    MKDIR3resok *ok = &result->MKDIR3res_u.resok;
    made(call, result->status, &ok->obj, &ok->obj_attributes);
}

static void make_dir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode) {
    struct call *call = call_new(req, handle_of(parent), name);
    call->mode = mode;
    call->send = send_mkdir, call->done = done_mkdir;
    call_again(call);
}

static int send_symlink(struct rpc_context *rpc, struct call *call) {
    SYMLINK3args args = {.where = {wire_handle(&call->file), call->name}};
    args.symlink.symlink_attributes = mode_only(0777);
    args.symlink.symlink_data = call->other_name;
    return rpc_nfs3_symlink_async(rpc, answered, &args, call);
}

static void done_symlink(struct call *call, void *data) {
    SYMLINK3res *result = data;
    SYMLINK3resok *ok = &result->SYMLINK3res_u.resok;
    made(call, result->status, &ok->obj, &ok->obj_attributes);
}

static void make_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name) {
    struct call *call = call_new(req, handle_of(parent), name);
    call->other_name = strdup(target);
    call->send = send_symlink, call->done = done_symlink;
    call_again(call);
}

static int send_readlink(struct rpc_context *rpc, struct call *call) {
    READLINK3args args = {.symlink = wire_handle(&call->file)};
    return rpc_nfs3_readlink_async(rpc, answered, &args, call);
}

static void done_readlink(struct call *call, void *data) {
    READLINK3res *result = data;
    if (result->status != NFS3_OK)
        return fail(call, errno_of(result->status));
    fuse_reply_readlink(call->req, result->READLINK3res_u.resok.data);
    call_answered(call);
}

static void read_link(fuse_req_t req, fuse_ino_t ino) {
    struct call *call = call_new(req, handle_of(ino), NULL);
    call->send = send_readlink, call->done = done_readlink;
    call_again(call);
}

/* ---- nodes and the table of operations ---- */

static void forget(fuse_req_t req, fuse_ino_t ino, uint64_t count) {
    if (ino != FUSE_ROOT_ID)
        forget_node((struct node *)(uintptr_t)ino, count);
    fuse_reply_none(req);
}

static void forget_many(fuse_req_t req, size_t count, struct fuse_forget_data *forgets) {
    for (size_t i = 0; i < count; i++)
        if (forgets[i].ino != FUSE_ROOT_ID)
            forget_node((struct node *)(uintptr_t)forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static void init(void *data, struct fuse_conn_info *connection) {
    (void)data;
    connection->max_write = transfer;
    connection->max_read = transfer;
    connection->max_background = 64;
    connection->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

void files_start(const nfs_fh3 *handle, unsigned transfer_bytes) {
    copy_handle(&root, handle);
    transfer = transfer_bytes;
}

/* Locks are left to the kernel: they hold on one host only, as with NFSv3 and `nolock`. */
const struct fuse_lowlevel_ops file_operations = {
    .init = init,
    .lookup = lookup,
    .forget = forget,
    .forget_multi = forget_many,
    .getattr = getattr,
    .setattr = setattr,
    .readlink = read_link,
    .mknod = mknod_file,
    .mkdir = make_dir,
    .symlink = make_symlink,
    .create = create,
    .unlink = file_unlink,
    .rmdir = file_rmdir,
    .rename = file_rename,
    .link = file_link,
    .open = file_open,
    .read = file_read,
    .write = file_write,
    .fsync = file_fsync,
    .opendir = dir_open,
    .readdir = dir_read,
    .releasedir = dir_close,
    .statfs = file_statfs,
};
