/* The C node that a user would write with `ei`, reduced to receiving: takes {Id, Binary} and
 * {[Id], Binary} apart, copies the binary, and answers {sync, Pid} with `synced`.
 *
 * usage: ei_node NAME COOKIE [bare]; NAME is the part before @127.0.0.1, ERL_EPMD_PORT says where EPMD
 * is. Serves one peer and ends with it. Does nothing with what it receives, which flatters it. `bare`
 * does not even look at it: it cuts frames out of large reads, as fast as Erlang can send.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ei.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char binary[1 << 20];

static int take_apart(const char *buf, erlang_pid *sync) {
    int at = 0, version, arity, type, size;
    long length, id;
    char atom[MAXATOMLEN];
    if (ei_decode_version(buf, &at, &version) || ei_decode_tuple_header(buf, &at, &arity) || arity != 2)
        return -1;
    if (ei_get_type(buf, &at, &type, &size))
        return -1;
    if (type == ERL_ATOM_EXT || type == ERL_SMALL_ATOM_UTF8_EXT || type == ERL_SMALL_ATOM_EXT) {
        ei_decode_atom(buf, &at, atom);
        return strcmp(atom, "sync") || ei_decode_pid(buf, &at, sync) ? -1 : 1;
    }
    if (type == ERL_LIST_EXT) {
        ei_decode_list_header(buf, &at, &arity);
        for (int i = 0; i < arity; i++)
            if (ei_decode_long(buf, &at, &id))
                return -1;
        ei_decode_list_header(buf, &at, &arity);
    } else if (ei_decode_long(buf, &at, &id)) {
        return -1;
    }
    ei_get_type(buf, &at, &type, &size);
    if (size > (int)sizeof binary)
        return -1;
    return ei_decode_binary(buf, &at, binary, &length);
}

/* {sync, Pid} is the only short message of a bench; its sender is in the control tuple. */
static void answer_sync(int fd, const char *frame, int size, ei_x_buff *out) {
    int at = 1, version, arity;
    long operation;
    erlang_pid from;
    if (size > 0 && size < 200 && memmem(frame, size, "sync", 4) &&
        !ei_decode_version(frame, &at, &version) && !ei_decode_tuple_header(frame, &at, &arity) &&
        !ei_decode_long(frame, &at, &operation) && !ei_decode_pid(frame, &at, &from))
        ei_send(fd, &from, out->buff, out->index);
}

/* Large reads, and of each frame only its length. */
static void cut_frames(int fd, ei_x_buff *out) {
    static char buffer[1 << 20];
    size_t held = 0;
    for (;;) {
        ssize_t count = read(fd, buffer + held, sizeof buffer - held);
        if (count <= 0)
            return;
        size_t end = held + count, at = 0;
        while (end - at >= 4) {
            uint32_t size;
            memcpy(&size, buffer + at, 4);
            size = ntohl(size);
            if (end - at - 4 < size)
                break;
            answer_sync(fd, buffer + at + 4, size, out);
            at += 4 + size;
        }
        held = end - at;
        memmove(buffer, buffer + at, held);
    }
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4)
        return 64;
    struct in_addr host = {htonl(INADDR_LOOPBACK)};
    char node[MAXNODELEN];
    snprintf(node, sizeof node, "%s@127.0.0.1", argv[1]);
    ei_cnode ec;
    ei_init();
    if (ei_connect_xinit(&ec, "127.0.0.1", argv[1], node, &host, argv[2], 0) < 0)
        return 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = host};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return 2;
    if (ei_publish(&ec, ntohs(address.sin_port)) < 0)
        return 3;
    ErlConnect peer;
    int fd = ei_accept(&ec, listener, &peer);
    if (fd < 0)
        return 4;
    ei_x_buff in, out;
    ei_x_new(&in);
    ei_x_new_with_version(&out);
    ei_x_encode_atom(&out, "synced");
    if (argc == 4) {
        cut_frames(fd, &out);
        return 0;
    }
    for (;;) {
        erlang_msg msg;
        erlang_pid sync;
        in.index = 0;
        switch (ei_xreceive_msg(fd, &msg, &in)) {
        case ERL_TICK:
            break;
        case ERL_MSG:
            if ((msg.msgtype == ERL_REG_SEND || msg.msgtype == ERL_SEND) &&
                take_apart(in.buff, &sync) == 1)
                ei_send(fd, &sync, out.buff, out.index);
            break;
        default:
            return 0;
        }
    }
}
