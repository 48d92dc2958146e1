defmodule PgliteEx.BridgeTest do
  use ExUnit.Case, async: true

  import PgliteEx.Support
  import PgliteEx.Protocol, except: [execute: 1, query: 1]
  alias PgliteEx.{Bridge, Error, Protocol}

  # The same tests for both kinds of session: a server's socket, and a port of its own.
  setup_all do
    %{server: server!()}
  end

  setup %{server: server} = context do
    case context do
      %{bridge: false} -> :ok
      %{over: :port} -> %{pg: bridge!()}
      _socket -> %{pg: bridge!(server: server, cell: "new")}
    end
  end

  defp raw(pg, message, opts \\ []), do: Bridge.exec_protocol_raw(pg, message, opts)
  defp sql(text), do: Protocol.query(text)
  defp types(answer), do: for({type, _body} <- messages(answer), into: "", do: <<type>>)

  defp value(pg, text) do
    {:ok, %{rows: [[value]]}} = PgliteEx.query(pg, text)
    value
  end

  defp binary_bytes(pid) do
    {:binary, binaries} = Process.info(pid, :binary)
    Enum.sum(for {_id, size, _refs} <- binaries, do: size)
  end

  defp assert_works(pg), do: assert(value(pg, "select 40 + 2") == 42)

  defp collect(pieces) do
    receive do
      {:piece, piece} -> collect([pieces, piece])
    after
      0 -> List.flatten(pieces)
    end
  end

  for over <- [:socket, :port] do
    describe "over a #{over}:" do
      @describetag over: over

      test "a query", %{pg: pg} do
        assert {:ok, answer} = raw(pg, sql("select 1"))
        assert [{?T, _}, {?D, <<1::16, 1::32, "1">>}, {?C, "SELECT 1\0"}, {?Z, "I"}] = messages(answer)
      end

      test "several queries in one message", %{pg: pg} do
        assert {:ok, answer} = raw(pg, [sql("select 1"), sql("selekt"), sql("select 2; select 3")])
        assert types(answer) == "TDCZEZTDCTDCZ"
      end

      test "an extended query, its pieces in calls of their own", %{pg: pg} do
        assert {:ok, early} = raw(pg, [parse("s", "select $1::int"), bind("s", ["7"]), describe()])
        assert {:ok, answer} = raw(pg, [Protocol.execute(), sync()])
        assert types(early <> answer) == "12TDCZ"
        assert {:ok, answer} = raw(pg, [bind("s", ["8"]), Protocol.execute(), sync()])
        assert [{?2, ""}, {?D, <<1::16, 1::32, "8">>}, {?C, _}, {?Z, "I"}] = messages(answer)
      end

      test "an error is an answer, and the rest of the batch is skipped by PostgreSQL", %{pg: pg} do
        assert {:ok, answer} =
                 raw(pg, [
                   parse("", "select 1/0"),
                   bind("", []),
                   Protocol.execute(),
                   parse("", "select 1"),
                   sync()
                 ])

        assert [{?1, ""}, {?E, fields}, {?Z, "I"}] = messages(answer)
        assert %Error{code: "22012"} = Error.from_fields(fields)
        assert_works(pg)
      end

      test "rows of a portal as they are asked for", %{pg: pg} do
        first = [
          sql("begin"),
          parse("", "select generate_series(1, 5)"),
          bind("", []),
          Protocol.execute(2),
          sync()
        ]

        assert {:ok, answer} = raw(pg, first)
        assert types(answer) == "CZ12DDsZ"
        assert {:ok, answer} = raw(pg, [Protocol.execute(2), sync()])
        assert types(answer) == "DDsZ"
        assert {:ok, answer} = raw(pg, [Protocol.execute(2), sync(), sql("commit")])
        assert types(answer) == "DCZCZ"
      end

      test "COPY FROM STDIN in several calls", %{pg: pg} do
        {:ok, _} = raw(pg, sql("create table t (a int)"))
        assert {:ok, answer} = raw(pg, sql("copy t from stdin"))
        assert types(answer) == "G"
        assert {:error, {:malformed, text}} = raw(pg, sql("select 1"))
        assert text =~ "COPY FROM STDIN waits for data"
        for i <- 1..100, do: assert({:ok, ""} = raw(pg, copy_data("#{i}\n")))
        assert {:ok, answer} = raw(pg, [copy_data("101\n"), copy_done()])
        assert [{?C, "COPY 101\0"}, {?Z, "I"}] = messages(answer)
        assert value(pg, "select sum(a) from t") == 5151
      end

      test "COPY FROM STDIN together with its data, and with two of them", %{pg: pg} do
        {:ok, _} = raw(pg, sql("create table t (a int)"))
        assert {:ok, answer} = raw(pg, [sql("copy t from stdin"), copy_data("1\n2\n"), copy_done()])
        assert types(answer) == "GCZ"

        assert {:ok, answer} =
                 raw(pg, [
                   sql("copy t from stdin; copy t from stdin"),
                   copy_data("3\n"),
                   copy_done(),
                   copy_done()
                 ])

        assert types(answer) == "GCGCZ"
        assert value(pg, "select count(*) from t") == 3
      end

      test "COPY FROM STDIN in an extended query", %{pg: pg} do
        {:ok, _} = raw(pg, sql("create table t (a int)"))
        start = [parse("", "copy t from stdin"), bind("", []), Protocol.execute(), sync()]
        assert {:ok, answer} = raw(pg, start)
        assert types(answer) == "12G"
        assert {:ok, answer} = raw(pg, [copy_data("1\n"), copy_done(), sync()])
        assert types(answer) == "CZ"
        assert {:ok, answer} = raw(pg, [start, copy_data("2\n"), copy_done(), sync()])
        assert types(answer) == "12GCZ"
        assert value(pg, "select count(*) from t") == 2
      end

      test "COPY that fails: by its data, by the client, and before it began", %{pg: pg} do
        {:ok, _} = raw(pg, sql("create table t (a int)"))
        assert {:ok, _} = raw(pg, sql("copy t from stdin"))
        assert {:ok, ""} = raw(pg, copy_data("not a number\n"))
        Process.sleep(50)
        assert {:ok, answer} = raw(pg, copy_done())
        assert types(answer) == "EZ"

        assert {:ok, _} = raw(pg, sql("copy t from stdin"))
        assert {:ok, answer} = raw(pg, copy_fail("enough"))
        assert [{?E, fields}, {?Z, "I"}] = messages(answer)
        assert Error.from_fields(fields).message =~ "enough"

        assert {:ok, answer} = raw(pg, [sql("copy none from stdin"), copy_data("1\n"), copy_done()])
        assert types(answer) == "EZ"
        assert_works(pg)
      end

      test "a malformed message is refused, and nothing of it was sent", %{pg: pg} do
        for message <- ["hello", <<?Q, 100::32, "select 1", 0>>, <<?Q, 3::32>>, "", Protocol.terminate()] do
          assert {:error, {:malformed, text}} = raw(pg, message)
          assert is_binary(text)
        end

        assert_works(pg)
        assert {:ok, %{restarts: 0}} = Bridge.info(pg)
      end

      test "a message with nonsense in its body is PostgreSQL's to refuse", %{pg: pg} do
        assert {:ok, answer} = raw(pg, <<?Q, 12::32, "select 1">>)
        assert [{?E, fields} | _] = messages(answer)
        assert %Error{code: "08P01"} = Error.from_fields(fields)
        assert_works(pg)
      end

      test "a time-out cancels, the transaction has failed, the session goes on", %{pg: pg} do
        {:ok, _} = raw(pg, sql("begin"))
        backend = value(pg, "select pg_backend_pid()")
        assert {:error, :timeout} = raw(pg, sql("select pg_sleep(60)"), timeout: 200)
        assert {:ok, answer} = raw(pg, sql("select 1"))
        assert [{?E, fields}, {?Z, "E"}] = messages(answer)
        assert %Error{code: "25P02"} = Error.from_fields(fields)
        {:ok, _} = raw(pg, sql("rollback"))
        assert value(pg, "select pg_backend_pid()") == backend
      end

      test "a call that waits for others times out without being sent", %{pg: pg} do
        {:ok, _} = raw(pg, sql("create table t (a int)"))
        slow = Task.async(fn -> raw(pg, sql("select pg_sleep(0.5)")) end)
        Process.sleep(50)
        assert {:error, :timeout} = raw(pg, sql("insert into t values (1)"), timeout: 50)
        assert {:ok, _} = Task.await(slow)
        assert value(pg, "select count(*) from t") == 0
      end

      test "callers that die are forgotten, and their query is cancelled", %{pg: pg} do
        {pid, ref} = spawn_monitor(fn -> raw(pg, sql("select pg_sleep(60)"), timeout: :infinity) end)
        Process.sleep(200)
        Process.exit(pid, :kill)
        assert_receive {:DOWN, ^ref, :process, ^pid, :killed}
        start = System.monotonic_time(:millisecond)
        assert_works(pg)
        assert System.monotonic_time(:millisecond) - start < 4_000
        assert {:ok, %{restarts: 0}} = Bridge.info(pg)
      end

      test "callers are served in order", %{pg: pg} do
        parent = self()
        answers = fn i -> {:ok, %{rows: [[^i]]}} = PgliteEx.query(pg, "select #{i}") end

        for i <- 1..50, do: spawn_link(fn -> send(parent, {:done, answers.(i)}) end)
        for _ <- 1..50, do: assert_receive({:done, _}, 10_000)
      end

      test "pieces of a stream are the answer", %{pg: pg} do
        message = sql("select repeat('x', 1000) from generate_series(1, 3000)")
        {:ok, whole} = raw(pg, message)
        parent = self()
        assert :ok = Bridge.exec_protocol_raw_stream(pg, message, &send(parent, {:piece, &1}))
        pieces = collect([])
        assert length(pieces) > 1
        assert IO.iodata_to_binary(pieces) == whole
        assert {:error, {:malformed, _}} = Bridge.exec_protocol_raw_stream(pg, "hello", & &1)
        assert_works(pg)
      end

      test "a stream whose consumer raises is cancelled", %{pg: pg} do
        message = sql("select repeat('x', 1000), generate_series(1, 100000000)")

        assert_raise RuntimeError, "enough", fn ->
          Bridge.exec_protocol_raw_stream(pg, message, fn _ -> raise "enough" end)
        end

        assert_works(pg)
        assert {:messages, []} = Process.info(self(), :messages)
      end

      test "a stream times out", %{pg: pg} do
        message = sql("select pg_sleep(60)")
        assert {:error, :timeout} = Bridge.exec_protocol_raw_stream(pg, message, & &1, timeout: 200)
        assert_works(pg)
      end

      test "the end of the session by PostgreSQL is its error, and there is a new session", %{pg: pg} do
        assert {:error, %Error{severity: "FATAL", code: "57P01"}} =
                 raw(pg, sql("select pg_terminate_backend(pg_backend_pid()), pg_sleep(10)"))

        eventually(fn -> match?({:ok, %{status: :ready, restarts: 1}}, Bridge.info(pg)) end)
        assert_works(pg)
      end

      test "100 MB there and back", %{pg: pg} do
        size = 100_000_000
        text = :binary.copy("0123456789", div(size, 10))
        start = System.monotonic_time(:millisecond)

        message = [parse("", "select length($1::text)"), bind("", [text]), Protocol.execute(), sync()]
        assert {:ok, answer} = raw(pg, message, timeout: 50_000)
        assert [{?1, _}, {?2, _}, {?D, <<1::16, 9::32, "100000000">>}, {?C, _}, {?Z, "I"}] = messages(answer)
        there = System.monotonic_time(:millisecond) - start

        start = System.monotonic_time(:millisecond)
        assert {:ok, answer} = raw(pg, sql("select repeat('0123456789', #{div(size, 10)})"), timeout: 50_000)
        assert [{?T, _}, {?D, <<1::16, ^size::32, ^text::binary>>}, {?C, _}, {?Z, "I"}] = messages(answer)
        back = System.monotonic_time(:millisecond) - start
        IO.puts("  100 MB over a #{unquote(over)}: there #{there} ms, back #{back} ms")
        assert_works(pg)
        eventually(fn -> binary_bytes(pg) < 10_000_000 end, 5_000, "letting go of 100 MB")
      end

      test "notices and notifications that nobody asked for go to :async", %{server: server} do
        opts = if unquote(over) == :port, do: [], else: [server: server, cell: "async-#{unquote(over)}"]
        pg = bridge!(opts ++ [async: self()])
        {:ok, _} = raw(pg, sql("listen news"))

        if unquote(over) == :socket do
          {:ok, _} = PgliteEx.query(server, "notify news, 'hello'", [], cell: "async-#{unquote(over)}")
          assert_receive {:pglite_ex, ^pg, bytes}, 5_000
          assert [{?A, <<_pid::32, "news\0hello\0">>}] = messages(bytes)
        end

        {:ok, answer} = raw(pg, sql("notify news, 'mine'"))
        {:ok, more} = raw(pg, sql("select 1"))
        assert "A" == types(answer <> more) |> String.replace(~r/[^A]/, "")
      end
    end
  end

  describe "a process of its own:" do
    @describetag over: :port

    test "killed in the middle of a query: down for callers, then a new one", %{pg: pg} do
      {:ok, %{os_pid: os_pid}} = Bridge.info(pg)
      calls = for _ <- 1..3, do: Task.async(fn -> raw(pg, sql("select pg_sleep(60)")) end)
      Process.sleep(200)
      kill(os_pid)
      assert [{:error, :down}, {:error, :down}, {:error, :down}] = Task.await_many(calls, 5_000)
      assert {:error, :down} = raw(pg, sql("select 1"))
      eventually(fn -> match?({:ok, %{status: :ready, restarts: 1}}, Bridge.info(pg)) end, 10_000)
      assert_works(pg)
      assert_gone(os_pid)
    end

    test "stopped while a query runs", %{pg: pg} do
      {:ok, %{os_pid: os_pid}} = Bridge.info(pg)
      call = Task.async(fn -> raw(pg, sql("select pg_sleep(60)")) end)
      Process.sleep(200)
      Bridge.stop(pg)
      assert {:error, :down} = Task.await(call)
      assert {:error, :down} = raw(pg, sql("select 1"))
      assert {:error, :down} = Bridge.exec_protocol_raw_stream(pg, sql("select 1"), & &1)
      assert_gone(os_pid)
    end

    @tag bridge: false
    test "a database that isn't there is PostgreSQL's error as a value" do
      assert {:error, %Error{severity: "FATAL", code: "3D000"}} =
               Bridge.start_link(binary: binary(:port), database: "none")
    end

    @tag bridge: false
    test "mode: :port of PgliteEx is the same" do
      {:ok, pg} = PgliteEx.start_link(mode: :port, binary: binary(:port))
      assert_works(pg)
      assert_raise ArgumentError, ~r/is a bridge/, fn -> PgliteEx.connection_opts(pg) end
      assert {:ok, %{os_pid: os_pid, status: :ready}} = PgliteEx.info(pg)
      assert :ok = PgliteEx.stop(pg)
      assert_gone(os_pid)
    end
  end

  describe "framing, by a stand-in:" do
    @describetag bridge: false

    test "frames that are cut everywhere" do
      for pieces <- [1, 3, 4, 7] do
        pg = bridge!(binary: stand_in([{"STAND_IN_PIECES", "#{pieces}"}]))
        assert {:ok, answer} = raw(pg, [sql("select 'hello'"), sql("selekt")])
        assert types(answer) == "TDCZEZ"
        assert_works(pg)
        stop_supervised_pid(pg)
      end
    end

    defp stop_supervised_pid(pg), do: Bridge.stop(pg)

    test "an answer that is not PostgreSQL's ends the session" do
      pg = bridge!(binary: stand_in([{"STAND_IN_GARBAGE", "HTTP/1.1 400 Bad Request"}]))
      assert {:error, :down} = raw(pg, sql("select 1"))
      eventually(fn -> match?({:ok, %{status: :ready, restarts: 1}}, Bridge.info(pg)) end, 10_000)
    end

    test "a session that does not let itself be cancelled is replaced" do
      pg = bridge!(binary: stand_in([{"STAND_IN_DEAF", "1"}]), cancel_timeout: 300)
      {:ok, %{os_pid: os_pid}} = Bridge.info(pg)
      assert {:error, :timeout} = raw(pg, sql("select pg_sleep(60)"), timeout: 100)
      assert {:error, :down} = raw(pg, sql("select 1"))
      eventually(fn -> match?({:ok, %{status: :ready, restarts: 1}}, Bridge.info(pg)) end, 10_000)
      assert_works(pg)
      assert_gone(os_pid)
    end
  end

  describe "a session of a server:" do
    @describetag bridge: false

    test "ends with its owner", %{server: server} do
      parent = self()

      {owner, ref} =
        spawn_monitor(fn ->
          {:ok, pg} = Bridge.start(server: server, cell: "owned", owner: self())
          send(parent, {:started, pg})
        end)

      assert_receive {:started, pg}, 5_000
      assert_receive {:DOWN, ^ref, :process, ^owner, :normal}
      eventually(fn -> not Process.alive?(pg) end)
    end

    test "comes back when it was ended, and not with restart: false", %{server: server} do
      pg = bridge!(server: server, cell: "comeback")
      {:ok, once} = Bridge.start(server: server, cell: "comeback", restart: false, owner: self())
      ref = Process.monitor(once)

      {:ok, _} =
        PgliteEx.query(
          server,
          "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()",
          [],
          cell: "comeback"
        )

      assert_receive {:DOWN, ^ref, :process, ^once, :normal}, 5_000
      eventually(fn -> match?({:ok, %{status: :ready, restarts: 1}}, Bridge.info(pg)) end, 10_000)
      assert_works(pg)
    end
  end

  @tag bridge: false
  test "options that can't be", %{server: server} do
    for {opts, words} <- [
          {[nonsense: 1], "does not know the option :nonsense"},
          {[server: server, cell: "a b"], ":cell has to be a cell's name"},
          {[cell: "x"], ":cell needs a :server"},
          {[server: server, database: "a\0b"], ":database"},
          {[backoff: {10, 1}], ":backoff"},
          {[startup_timeout: 0], ":startup_timeout"}
        ] do
      assert {:error, %PgliteEx.StartError{reason: :bad_option, message: message}} = Bridge.start_link(opts)
      assert message =~ words
    end

    assert {:error, :down} = Bridge.start_link(server: :nobody_of_that_name)
    assert_raise ArgumentError, ~r/:timeout/, fn -> raw(self(), "x", timeout: -1) end
  end
end
