#!/usr/bin/env escript
%% -*- erlang -*-
%% Drives `pgcell port` as an Erlang program does: open_port() with {packet, 4}, no NIF, no library.
%%
%% usage: port.escript PGCELL MEBIBYTES
%% Prints a line for each thing that was seen; the last one is "ok". Any other end is a failure.

-mode(compile).
-define(TIMEOUT, 60000).

main([Program, Mebibytes]) ->
    Port = open(Program, ["--startup"]),
    {Started, Rest} = until_ready(Port, <<>>, fun types/2, ""),
    <<>> = Rest,
    $Z = lists:last(Started),
    true = lists:all(fun(T) -> lists:member(T, "SKZ") end, Started),
    say("started"),

    {Row, _} = query(Port, "select 6 * 7", fun values/2, []),
    [<<"42">>] = Row,
    say("query"),

    %% one message in many frames, and frames without bytes
    [port_command(Port, F) || F <- [<<>>, <<"Q">>, <<0, 0>>, <<0>>, <<13>>, <<>>, <<"select 1">>, <<0>>, <<>>]],
    {One, _} = until_ready(Port, <<>>, fun values/2, []),
    [<<"1">>] = One,
    say("cut"),

    %% a frame that is a cancel request
    {Key, _} = key(Program),
    16 = byte_size(Key),
    say("cancel"),

    %% more than any buffer holds, without the emulator's growing
    Bytes = list_to_integer(Mebibytes) * 1048576,
    Count = Bytes div 1024,
    Sql = io_lib:format("select repeat('x', 1024) from generate_series(1, ~b)", [Count]),
    {Total, _} = query(Port, Sql, fun bytes/2, 0),
    Total = Count * 1024,
    io:format("received ~b bytes, binaries hold ~b kB~n", [Total, erlang:memory(binary) div 1024]),
    true = erlang:memory(binary) < 32 * 1048576,

    %% Terminate is an orderly end
    port_command(Port, <<"X", 4:32>>),
    0 = status(Port),
    say("terminated"),

    %% an owner that closes the port ends it
    Closed = open(Program, ["--startup"]),
    {os_pid, Pid} = erlang:port_info(Closed, os_pid),
    {_, _} = until_ready(Closed, <<>>, fun types/2, ""),
    port_command(Closed, message($Q, "select pg_sleep(60)")),
    true = port_close(Closed),
    gone = wait_gone(Pid, 50),
    say("closed"),

    3 = status(open(Program, ["--startup", "--database", "nowhere"])),
    say("refused"),

    Fatal = open(Program, ["--startup"]),
    {_, _} = until_ready(Fatal, <<>>, fun types/2, ""),
    port_command(Fatal, message($Q, "select pg_terminate_backend(pg_backend_pid())")),
    4 = status(Fatal),
    say("ended"),
    say("ok").

%% Cancels a query of another port; returns the request.
key(Program) ->
    Port = open(Program, ["--startup"]),
    {[{Pid, Secret}], _} = until_ready(Port, <<>>, fun keys/2, []),
    port_command(Port, message($Q, "select pg_sleep(60)")),
    timer:sleep(300),
    Request = <<16:32, 80877102:32, Pid:32, Secret/binary>>,
    port_command(Port, Request),
    {[<<"57014">>], _} = until_ready(Port, <<>>, fun sqlstates/2, []),
    port_command(Port, <<"X", 4:32>>),
    {status(Port) =:= 0 andalso Request, ok}.

open(Program, Options) ->
    open_port({spawn_executable, Program}, [{args, ["port" | Options]}, {packet, 4}, binary, exit_status, use_stdio]).

message(Type, Text) ->
    Body = iolist_to_binary([Text, 0]),
    <<Type, (byte_size(Body) + 4):32, Body/binary>>.

query(Port, Sql, Fold, Start) ->
    port_command(Port, message($Q, Sql)),
    until_ready(Port, <<>>, Fold, Start).

%% Folds over messages up to ReadyForQuery; returns the bytes behind it as well.
until_ready(Port, Buffer, Fold, Result) ->
    case Buffer of
        <<Type, Length:32, Tail/binary>> when byte_size(Tail) >= Length - 4 ->
            BodyLength = Length - 4,
            <<Body:BodyLength/binary, Rest/binary>> = Tail,
            Next = Fold({Type, Body}, Result),
            case Type of
                $Z -> {Next, Rest};
                _ -> until_ready(Port, Rest, Fold, Next)
            end;
        _ ->
            receive
                {Port, {data, Data}} -> until_ready(Port, <<Buffer/binary, Data/binary>>, Fold, Result);
                {Port, {exit_status, Status}} -> fail({exit_status, Status})
            after ?TIMEOUT -> fail(timeout)
            end
    end.

types({Type, _}, Types) -> Types ++ [Type].

values({$D, <<_:16, Length:32, Value:Length/binary, _/binary>>}, Values) -> Values ++ [binary:copy(Value)];
values({$E, Body}, _) -> fail(Body);
values(_, Values) -> Values.

bytes({$D, <<_:16, Length:32, _/binary>>}, Total) -> Total + Length;
bytes({$E, Body}, _) -> fail(Body);
bytes(_, Total) -> Total.

keys({$K, <<Pid:32, Secret/binary>>}, []) -> [{Pid, binary:copy(Secret)}];
keys(_, Keys) -> Keys.

sqlstates({$E, Body}, States) ->
    [State] = [V || <<$C, V/binary>> <- binary:split(Body, <<0>>, [global])],
    States ++ [State];
sqlstates(_, States) -> States.

status(Port) ->
    receive
        {Port, {exit_status, Status}} -> Status;
        {Port, {data, _}} -> status(Port)
    after ?TIMEOUT -> fail(timeout)
    end.

wait_gone(_, 0) -> still_there;
wait_gone(Pid, Tries) ->
    case filelib:is_dir("/proc/" ++ integer_to_list(Pid)) of
        false -> gone;
        true -> timer:sleep(100), wait_gone(Pid, Tries - 1)
    end.

say(Text) -> io:format("~s~n", [Text]).

fail(Why) ->
    io:format("failed: ~p~n", [Why]),
    halt(1).
