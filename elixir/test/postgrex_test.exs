defmodule PgliteEx.PostgrexTest do
  @moduledoc """
  What `connection_opts/2` gives, as Postgrex takes it. The real one where it is installed; where it is not, a stub that reads the options as its
  documentation has it, so that at least they lead to a session.
  """
  use ExUnit.Case, async: true

  import PgliteEx.Support

  defmodule Stub do
    @moduledoc false
    # Postgrex: `:socket_dir` with `:port` is "Connect to PostgreSQL via UNIX sockets in the given directory; the socket name is derived
    # from the port", otherwise `:hostname` with `:port`.
    def start_link(opts) do
      [] = Keyword.keys(opts) -- [:socket_dir, :hostname, :port, :database, :username]

      {address, socket_opts} =
        if dir = opts[:socket_dir],
          do: {{{:local, Path.join(dir, ".s.PGSQL.#{opts[:port]}")}, 0}, []},
          else: {{to_charlist(opts[:hostname]), opts[:port]}, [:inet]}

      {host, port} = address
      {:ok, socket} = :gen_tcp.connect(host, port, [:binary, active: false] ++ socket_opts, 5_000)
      start = PgliteEx.Protocol.startup([{"user", opts[:username]}, {"database", opts[:database]}])
      :ok = :gen_tcp.send(socket, start)
      ready(socket, "")
      {:ok, socket}
    end

    def query(socket, sql) do
      :ok = :gen_tcp.send(socket, PgliteEx.Protocol.query(sql))
      socket |> ready("") |> PgliteEx.Protocol.result()
    end

    defp ready(socket, got) do
      {:ok, data} = :gen_tcp.recv(socket, 0, 5_000)
      got = got <> data
      if binary_part(got, byte_size(got), -6) =~ <<?Z, 5::32>>, do: got, else: ready(socket, got)
    end
  end

  for listen <- [:unix, :tcp] do
    test "a stub connects with what connection_opts/2 says (#{listen})" do
      server = server!(listen: unquote(listen))
      {:ok, conn} = Stub.start_link(PgliteEx.connection_opts(server, cell: "stub"))
      assert {:ok, %{command: "CREATE TABLE"}} = Stub.query(conn, "create table t ()")
      assert {:ok, %{rows: []}} = PgliteEx.query(server, "table t", [], cell: "stub")
    end

    @tag :postgrex
    test "Postgrex: queries, prepared statements, transactions, errors (#{listen})" do
      server = server!(listen: unquote(listen))
      opts = PgliteEx.connection_opts(server, cell: "postgrex")
      {:ok, conn} = start_supervised({Postgrex, [pool_size: 4] ++ opts})

      assert %{rows: [[1, "x", nil, true]]} = call(:query!, [conn, "select 1, 'x', null::int, true", []])
      call(:query!, [conn, "create table t (a int, b text, c jsonb)", []])
      call(:query!, [conn, "insert into t (a, b) values ($1, $2)", [1, "one"]])
      prepared = call(:prepare!, [conn, "by_a", "select b from t where a = $1"])
      assert %{rows: [["one"]]} = call(:execute!, [conn, prepared, [1]])
      assert {:error, %{postgres: %{code: :undefined_table}}} = call(:query, [conn, "table none", []])

      assert {:error, :enough} =
               call(:transaction, [
                 conn,
                 fn tx ->
                   call(:query!, [tx, "insert into t (a) values (2)", []])
                   call(:rollback, [tx, :enough])
                 end
               ])

      assert %{rows: [[1]]} = call(:query!, [conn, "select count(*) from t", []])

      1..20
      |> Task.async_stream(fn i -> assert %{rows: [[^i]]} = call(:query!, [conn, "select $1::int", [i]]) end)
      |> Stream.run()
    end
  end

  defp call(function, args), do: apply(Postgrex, function, args)
end
