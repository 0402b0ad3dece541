#!/usr/bin/env escript
%% -*- erlang -*-
%% Writes test/vectors/terms.txt anew: `escript test/vectors/make.escript`, from the root.
main([]) ->
    {ok, lariat_vectors, Code} = compile:file("test/lariat_vectors", [binary]),
    {module, lariat_vectors} = code:load_binary(lariat_vectors, "test/lariat_vectors.erl", Code),
    ok = lariat_vectors:write("test/vectors/terms.txt").
