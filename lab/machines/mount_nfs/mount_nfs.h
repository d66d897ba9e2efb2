/* The lab's own mount.nfs: NFSv3 by libnfs's asynchronous calls, shown to the kernel by FUSE.
 *
 * It is for kernels without an NFS client, so that hosts of the lab mount pools with the same commands as anywhere.
 * Semantics are those of a hard mount: a call waits for its server for ever and only SIGKILL ends the wait.
 * One thread, one poll loop: main.c mounts and loops, wire.c keeps calls and the connection, files.c has names and
 * attributes, data.c the rest of the file system. */
#ifndef MOUNT_NFS_H
#define MOUNT_NFS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <nfsc/libnfs-zdr.h>
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct handle {
    unsigned length;
    char bytes[NFS3_FHSIZE];
};

/* One request of the kernel, kept until it is answered, however many connections that takes. Handles are copies:
 * after an early answer to a killed process the kernel may forget the node while the server still works. */
struct call {
    struct call *next, **link;
    fuse_req_t req; /* NULL once answered */
    pid_t pid;
    int (*send)(struct rpc_context *, struct call *); /* queues the RPC with `answered` */
    void (*done)(struct call *, void *result);        /* answers, or sends a following RPC */
    bool in_flight, interrupted;
    unsigned attempts;
    struct handle file, other;
    char *name, *other_name, *data;
    size_t size, got;
    off_t offset;
    mode_t mode;
    bool exclusive;
    struct fuse_file_info open;
    bool opens;
    sattr3 attributes;
};

/* wire.c */
struct call *call_new(fuse_req_t req, const struct handle *file, const char *name);
void call_again(struct call *call); /* sends it, or sends it once more, or the next RPC of it */
void call_answered(struct call *call);
void answered(struct rpc_context *rpc, int status, void *data, void *call);
void wire_start(const char *server, struct rpc_context *connected);
struct rpc_context *wire_context(void);
int wire_timeout(void);
void wire_event(int revents);
void wire_tick(void);

/* files.c */
extern const struct fuse_lowlevel_ops file_operations;
void files_start(const nfs_fh3 *root, unsigned transfer_bytes);
int errno_of(nfsstat3 status);
void fail(struct call *call, int error);
const struct handle *handle_of(fuse_ino_t ino);
nfs_fh3 wire_handle(struct handle *handle);
int send_getattr(struct rpc_context *rpc, struct call *call);
void done_getattr_of_entry(struct call *call, void *result);
extern unsigned transfer; /* bytes of one READ or WRITE at most */

/* data.c */
void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open);
void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *open);
void file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                struct fuse_file_info *open);
void file_fsync(fuse_req_t req, fuse_ino_t ino, int only_data, struct fuse_file_info *open);
void file_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void file_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void file_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                 unsigned flags);
void file_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
void file_statfs(fuse_req_t req, fuse_ino_t ino);
void dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open);
void dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *open);
void dir_close(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *open);

#endif
