%%% Reading requests: what is there, what is not, and what is nonsense.
-module(lariat_request_test).

-include_lib("eunit/include/eunit.hrl").

ids_as_the_edge_reads_them_test() ->
    Id = fun(Text) -> lariat_request:id(#{bindings => #{<<"id">> => Text}}) end,
    ?assertEqual([123, <<"alice">>, <<"0x1">>], [Id(T) || T <- [<<"123">>, <<"alice">>, <<"0x1">>]]).

cookies_test_() ->
    Cookie = fun(Name, Field) ->
        lariat_request:cookie(Name, #{headers => #{<<"cookie">> => Field}})
    end,
    [
        ?_assertEqual({ok, <<"1">>}, Cookie(<<"a">>, <<"a=1">>)),
        ?_assertEqual({ok, <<"2=3">>}, Cookie(<<"b">>, <<"a=1; b=2=3">>)),
        ?_assertEqual({ok, <<>>}, Cookie(<<"a">>, <<"a=;a=2">>)),
        ?_assertEqual(error, Cookie(<<"a">>, <<"ba=1; A=2;a;=; ">>)),
        ?_assertEqual(error, Cookie(<<"a">>, <<255, 254, ";">>)),
        ?_assertEqual(error, lariat_request:cookie(<<"a">>, #{headers => #{}}))
    ].

parameters_test_() ->
    Parameter = fun(Name, Query) -> lariat_request:parameter(Name, #{query => Query}) end,
    [
        ?_assertEqual({ok, <<"1">>}, Parameter(<<"a">>, <<"a=1&a=2">>)),
        ?_assertEqual({ok, <<"x y", 16#c3, 16#a9>>}, Parameter(<<"b">>, <<"a&b=x+y%C3%A9">>)),
        ?_assertEqual(error, Parameter(<<"a">>, <<"a">>)),
        ?_assertEqual(error, Parameter(<<"a">>, <<>>)),
        ?_assertEqual(error, Parameter(<<"a">>, <<"a=%zz">>)),
        ?_assertEqual(error, Parameter(<<"a">>, <<255, "=", 254>>)),
        ?_assertEqual(error, Parameter(<<"a">>, <<"a=%ff">>))
    ].

headers_test() ->
    Request = #{headers => #{<<"accept">> => <<"*/*">>}},
    ?assertEqual({ok, <<"*/*">>}, lariat_request:header(<<"accept">>, Request)),
    ?assertEqual(error, lariat_request:header(<<"cookie">>, Request)).
