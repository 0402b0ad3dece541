%%% A handler for tests: its constant is a function, which is told what happens and answers.
-module(lariat_test_handler).

-behaviour(lariat_handler).

-export([init/2, handle_in/3, handle_closed/3, handle_batch/2]).

init(Request, Fun) -> Fun({init, Request}).
handle_in(Conn, Data, Fun) -> Fun({in, Conn, Data}).
handle_closed(Conn, Reason, Fun) -> Fun({closed, Conn, Reason}).
handle_batch(Bodies, Fun) -> Fun({batch, Bodies}).
