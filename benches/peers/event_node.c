/* The C node that a user would write: libevent's HTTP server holds the streams, `ei` brings what
 * Erlang sends, one thread does both.
 *
 * usage: event_node NAME COOKIE CONNECTIONS; NAME is the part before @127.0.0.1, ERL_EPMD_PORT says
 * where EPMD is. Says "ready PORT" and ends with its Erlang node. GET /stream/ID is held;
 * {ID, Binary} and {[ID], Binary} to any name become chunks. One connection for each id, ids up to
 * CONNECTIONS. It has no limits, heartbeats or events, which flatters it.
 */
#include <arpa/inet.h>
#include <ei.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct evhttp_request **streams;
static long ids_max;
static struct event_base *base;
static ei_cnode ec;
static ei_x_buff in;
static char payload[1 << 20];
/* A list of integers below 256 comes as a string, of at most 65,535, with a zero at its end here. */
static char small_ids[1 << 16];

/* The id may have a new connection by now: that one stays. */
static void closed(struct evhttp_connection *connection, void *slot) {
    struct evhttp_request **request = slot;
    if (*request && evhttp_request_get_connection(*request) == connection)
        *request = NULL;
}

static void requested(struct evhttp_request *request, void *unused) {
    (void)unused;
    long id;
    int on = 1;
    if (sscanf(evhttp_request_get_uri(request), "/stream/%ld", &id) != 1 || id < 1 ||
        id > ids_max) {
        evhttp_send_error(request, HTTP_NOTFOUND, NULL);
        return;
    }
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    evutil_socket_t fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    streams[id] = request;
    evhttp_connection_set_closecb(connection, closed, &streams[id]);
    evhttp_send_reply_start(request, HTTP_OK, "OK");
}

static void deliver(long id, long length) {
    if (id < 1 || id > ids_max || !streams[id])
        return;
    struct evbuffer *chunk = evbuffer_new();
    evbuffer_add(chunk, payload, length);
    evhttp_send_reply_chunk(streams[id], chunk);
    evbuffer_free(chunk);
}

/* {Id, Binary} or {[Id], Binary}. The ids come before the binary, so a list is read twice. */
static int take_apart(const char *buf) {
    int at = 0, version, arity, count = 1, ids, type, size, list = 0;
    long id, length;
    if (ei_decode_version(buf, &at, &version) || ei_decode_tuple_header(buf, &at, &arity) ||
        arity != 2)
        return -1;
    ei_get_type(buf, &at, &ids, &size);
    if (ids == ERL_STRING_EXT) {
        count = size;
        ei_decode_string(buf, &at, small_ids);
    } else {
        if (ids == ERL_LIST_EXT)
            ei_decode_list_header(buf, &at, &count);
        list = at;
        for (int i = 0; i < count; i++)
            if (ei_decode_long(buf, &at, &id))
                return -1;
        if (ids == ERL_LIST_EXT)
            ei_skip_term(buf, &at);
    }
    ei_get_type(buf, &at, &type, &size);
    if (size > (int)sizeof payload || ei_decode_binary(buf, &at, payload, &length))
        return -1;
    for (int i = 0; i < count; i++) {
        if (ids == ERL_STRING_EXT)
            id = (unsigned char)small_ids[i];
        else
            ei_decode_long(buf, &list, &id);
        deliver(id, length);
    }
    return 0;
}

static void received(evutil_socket_t fd, short what, void *unused) {
    (void)what, (void)unused;
    erlang_msg msg;
    in.index = 0;
    switch (ei_xreceive_msg(fd, &msg, &in)) {
    case ERL_TICK:
        return;
    case ERL_MSG:
        if (msg.msgtype == ERL_REG_SEND || msg.msgtype == ERL_SEND)
            take_apart(in.buff);
        return;
    default:
        exit(0);
    }
}

static void accepted(evutil_socket_t listener, short what, void *unused) {
    (void)what, (void)unused;
    ErlConnect peer;
    int fd = ei_accept(&ec, listener, &peer);
    if (fd >= 0)
        event_add(event_new(base, fd, EV_READ | EV_PERSIST, received, NULL), NULL);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 64;
    ids_max = atol(argv[3]);
    streams = calloc(ids_max + 1, sizeof *streams);
    struct in_addr host = {htonl(INADDR_LOOPBACK)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = host};
    socklen_t size = sizeof address;
    char node[MAXNODELEN];
    snprintf(node, sizeof node, "%s@127.0.0.1", argv[1]);
    ei_init();
    ei_x_new(&in);
    base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    evhttp_set_gencb(http, requested, NULL);
    int listens = socket(AF_INET, SOCK_STREAM, 0);
    /* Not evhttp_bind_socket: its listen queue is 128 long, and the client opens 256 at a time. */
    if (!streams || bind(listens, (struct sockaddr *)&address, size) || listen(listens, 1024) ||
        evutil_make_socket_nonblocking(listens) || evhttp_accept_socket(http, listens) ||
        ei_connect_xinit(&ec, "127.0.0.1", argv[1], node, &host, argv[2], 0) < 0)
        return 1;
    address.sin_port = 0;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &size) ||
        ei_publish(&ec, ntohs(address.sin_port)) < 0)
        return 2;
    event_add(event_new(base, listener, EV_READ | EV_PERSIST, accepted, NULL), NULL);
    getsockname(listens, (struct sockaddr *)&address, &size);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return event_base_dispatch(base);
}
