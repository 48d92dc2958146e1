defmodule PgliteEx.ServerTest do
  # Environment variables and telemetry are everybody's.
  use ExUnit.Case, async: false

  import PgliteEx.Support
  alias PgliteEx.{Bridge, StartError}

  defp start(opts), do: PgliteEx.start_link(Keyword.merge([binary: binary(:serve), log: false], opts))

  defp info!(server) do
    {:ok, info} = PgliteEx.info(server)
    info
  end

  describe "start and stop:" do
    test "a Unix socket that only we can open, and nothing left afterwards" do
      {:ok, server} = start([])
      opts = PgliteEx.connection_opts(server)
      assert [socket_dir: dir, port: 5432, database: "postgres", username: "postgres"] = opts
      socket = Path.join(dir, ".s.PGSQL.5432")
      assert %{type: :other} = File.stat!(socket)
      assert Bitwise.band(File.stat!(dir).mode, 0o077) == 0
      assert %{status: :ready, restarts: 0, tcp: nil, os_pid: os_pid, version: "0." <> _} = info!(server)
      assert is_alive?(os_pid)

      assert :ok = PgliteEx.stop(server)
      refute is_alive?(os_pid)
      refute File.exists?(dir)
      assert {:error, :down} = PgliteEx.info(server)
      assert_raise ArgumentError, ~r/there is no PgliteEx server/, fn -> PgliteEx.connection_opts(server) end
    end

    test "TCP with a free port, and one that was chosen" do
      server = server!(listen: :tcp)
      assert [hostname: "127.0.0.1", port: port, database: _, username: _] = PgliteEx.connection_opts(server)
      assert port > 0
      assert {:ok, %{rows: [[1]]}} = PgliteEx.query(server, "select 1")
      PgliteEx.stop(server)

      other = server!(listen: {"127.0.0.1", port})
      assert PgliteEx.connection_opts(other)[:port] == port
    end

    test "connection_opts: cell, database, role" do
      server = server!(database: "app", username: "ann", name: PgliteEx.ServerTest.Named)
      opts = PgliteEx.connection_opts(PgliteEx.ServerTest.Named, cell: "alice")
      assert opts[:database] == "app@alice"
      assert opts[:username] == "ann"
      assert PgliteEx.connection_opts(server, database: "x", username: "y", cell: "new")[:database] == "x@new"
      assert_raise ArgumentError, ~r/a cell's name/, fn -> PgliteEx.connection_opts(server, cell: "a b") end
      assert_raise ArgumentError, fn -> PgliteEx.connection_opts(server, nonsense: 1) end
    end

    test "what is not a session says so, and lives on" do
      server = server!()
      {:ok, pool} = PgliteEx.CellPool.start_link(server: server)
      assert {:error, {:malformed, text}} = Bridge.exec_protocol_raw(server, "x")
      assert text =~ "this is a server"
      assert {:error, {:malformed, ^text}} = Bridge.exec_protocol_raw_stream(server, "x", & &1)
      assert {:error, :down} = PgliteEx.query(pool, "select 1")
      bridge = bridge!(server: server)
      assert {:error, %StartError{reason: :bad_option}} = Bridge.start_link(server: bridge)
      assert {:ok, %{rows: [[1]]}} = PgliteEx.query(server, "select 1")
    end

    test "a folder of one's own is kept" do
      dir = Path.join(folder(), "mine")
      File.mkdir!(dir)
      File.chmod!(dir, 0o700)
      {:ok, server} = start(socket_dir: dir)
      assert PgliteEx.connection_opts(server)[:socket_dir] == dir
      PgliteEx.stop(server)
      assert File.dir?(dir)
    end

    test "in a supervisor: several, by name, and gone with it" do
      children =
        for name <- [:pg_one, :pg_two], do: {PgliteEx, name: name, binary: binary(:serve), log: false}

      {:ok, supervisor} = Supervisor.start_link(children, strategy: :one_for_one)
      pids = for name <- [:pg_one, :pg_two], do: info!(name).os_pid
      assert {:ok, _} = PgliteEx.query(:pg_one, "create table only_here ()")
      assert {:error, %{code: "42P01"}} = PgliteEx.query(:pg_two, "table only_here")
      assert {:error, {:already_started, _}} = start(name: :pg_one)
      Supervisor.stop(supervisor)
      for pid <- pids, do: refute(is_alive?(pid))
    end

    test "a supervisor that kills takes the process too" do
      {:ok, server} = start([])
      %{os_pid: os_pid} = info!(server)
      session = Task.async(fn -> PgliteEx.query(server, "select pg_sleep(60)", [], timeout: 60_000) end)
      Process.sleep(200)
      Process.unlink(server)
      Process.exit(server, :kill)
      assert {:error, reason} = Task.await(session, 15_000)
      assert reason == :down or match?(%PgliteEx.Error{code: "57P01"}, reason)
      assert_gone(os_pid, 15_000)
    end

    test "sessions that run do not hold the end up" do
      {:ok, server} = start([])
      %{os_pid: os_pid} = info!(server)
      call = Task.async(fn -> PgliteEx.query(server, "select pg_sleep(60)", [], timeout: 60_000) end)
      Process.sleep(200)
      start = System.monotonic_time(:millisecond)
      PgliteEx.stop(server)
      assert System.monotonic_time(:millisecond) - start < 7_000
      assert {:error, reason} = Task.await(call)
      assert reason == :down or match?(%PgliteEx.Error{code: "57P01"}, reason)
      refute is_alive?(os_pid)
    end
  end

  describe "when the process is killed:" do
    for listen <- [:unix, :tcp] do
      test "callers hear :down, and it comes back at the same address (#{listen})" do
        server = server!(listen: unquote(listen), backoff: {1_000, 2_000})
        opts = PgliteEx.connection_opts(server)
        %{os_pid: os_pid} = info!(server)
        pg = bridge!(server: server)

        call =
          Task.async(fn -> Bridge.exec_protocol_raw(pg, PgliteEx.Protocol.query("select pg_sleep(60)")) end)

        Process.sleep(200)
        kill(os_pid)

        assert {:error, :down} = Task.await(call)
        assert {:error, :down} = PgliteEx.query(server, "select 1")
        eventually(fn -> info!(server).status == :down end)
        assert {:error, :down} = PgliteEx.create_cell(server, "x")
        assert PgliteEx.connection_opts(server) == opts

        eventually(fn -> match?(%{status: :ready, restarts: 1}, info!(server)) end, 10_000)
        assert PgliteEx.connection_opts(server) == opts
        assert info!(server).os_pid != os_pid
        assert {:ok, %{rows: [[1]]}} = PgliteEx.query(server, "select 1")
        eventually(fn -> match?({:ok, %{rows: [[2]]}}, PgliteEx.query(pg, "select 2")) end, 10_000)
        assert Process.alive?(server)
        assert_gone(os_pid)
      end
    end

    test "attempts come slower and slower, and begin from the beginning after a while" do
      alias PgliteEx.Backoff

      {waits, backoff} =
        Enum.map_reduce(1..8, Backoff.new({100, 1_000}), fn _turn, backoff -> Backoff.next(backoff, 0) end)

      for {wait, most} <- Enum.zip(waits, [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000]) do
        assert wait <= most and wait >= div(most * 3, 4)
      end

      assert {wait, _} = Backoff.next(backoff, 1_000)
      assert wait <= 100
    end
  end

  test "the BEAM's end takes all with it: kill -9" do
    for mode <- ["server", "port"] do
      opts = if mode == "server", do: [binary: binary(:serve)], else: [binary: binary(:port), mode: :port]

      program = """
      {:ok, pg} = PgliteEx.start_link(#{inspect(opts)})
      spawn(fn -> PgliteEx.query(pg, "select pg_sleep(100)", [], timeout: :infinity) end)
      Process.sleep(300)
      {:ok, info} = PgliteEx.info(pg)
      IO.puts("pid \#{info.os_pid}")
      Process.sleep(:infinity)
      """

      ebin = to_string(:code.lib_dir(:pglite_ex, :ebin))

      beam =
        Port.open({:spawn_executable, System.find_executable("elixir")}, [
          :binary,
          :exit_status,
          line: 1000,
          args: ["-pa", ebin, "-e", program]
        ])

      {:os_pid, launcher} = Port.info(beam, :os_pid)
      os_pid = await_pid(beam)
      assert is_alive?(os_pid)
      # `elixir` is a shell script that becomes the BEAM
      kill(launcher)
      assert_gone(os_pid, 10_000)
      eventually(fn -> children_of(os_pid) == [] end, 10_000)
      assert_receive {^beam, {:exit_status, 137}}, 5_000
    end
  end

  defp await_pid(port) do
    receive do
      {^port, {:data, {:eol, "pid " <> pid}}} -> String.to_integer(pid)
      {^port, {:data, _other}} -> await_pid(port)
      {^port, {:exit_status, status}} -> flunk("the other BEAM ended with status #{status}")
    after
      20_000 -> flunk("the other BEAM did not start")
    end
  end

  defp children_of(os_pid) do
    for {pid, line} <- processes(), line =~ "pgcell", pid != os_pid, parent(pid) == os_pid, do: pid
  end

  defp parent(pid) do
    with {:ok, stat} <- File.read("/proc/#{pid}/stat"),
         [_all, parent] <- Regex.run(~r/\) \S (\d+) /, stat),
         do: String.to_integer(parent)
  end

  describe "a program that can't be used is an error as a value:" do
    defp assert_refused(opts, reason, words) do
      assert {:error, %StartError{reason: ^reason, message: message}} = start(opts)
      assert message =~ words
      refute_received {:EXIT, _, _}
      message
    end

    test "nothing there, a folder, not executable" do
      assert_refused([binary: "/nowhere/pgcell"], :not_found, "there is no pgcell program at /nowhere/pgcell")
      assert_refused([binary: folder()], :not_executable, "is a directory")
      path = Path.join(folder(), "plain")
      File.write!(path, "")
      assert_refused([binary: path], :not_executable, "chmod +x")
      File.chmod!(path, 0o755)
      assert_refused([binary: path], :wrong_program, "is not pgcell")
    end

    test "another program, and one that hangs or fails" do
      assert_refused([binary: "/bin/echo"], :wrong_program, ~s(it says "echo))
      assert_refused([binary: "/bin/false"], :wrong_program, "status 1")
    end

    test "another version, another contract" do
      for {said, reason, words} <- [
            {"pgcell 1.0.0", :wrong_version, "needs ~> 0.1"},
            {"pgcell 0.0.9", :wrong_version, "is pgcell 0.0.9"},
            {"pgcell 0.1.0 (contract 2)", :wrong_version, "contract version 2"},
            {"postgres 18", :wrong_program, "is not pgcell"}
          ] do
        assert_refused([binary: stand_in([{"STAND_IN_VERSION", said}])], reason, words)
      end

      program = stand_in([{"STAND_IN_VERSION", "pgcell 0.9.1 (contract 1)"}])
      assert {:ok, "0.9.1"} = PgliteEx.Binary.check(program)
    end

    test "it ends before it is ready: its last lines are in the message" do
      program =
        script(
          ~S[case $1 in --version) echo pgcell 0.1.0;; *) echo "pgcell serve: no luck today" >&2; exit 7;; esac]
        )

      message = assert_refused([binary: program], :exited, "no luck today")
      assert message =~ "status 7"
      assert {:error, %StartError{reason: :exited}} = Bridge.start_link(binary: program)

      assert_refused([image: "/nowhere/image"], :exited, "/nowhere/image")
      assert_refused([args: ["--nonsense"]], :exited, "--nonsense")
    end

    test "it is never ready" do
      program = script(~S[case $1 in --version) echo pgcell 0.1.0;; *) exec sleep 60;; esac])
      assert_refused([binary: program, startup_timeout: 200], :timeout, "within 200 ms")

      assert {:error, %StartError{reason: :timeout}} =
               Bridge.start_link(binary: program, startup_timeout: 200)
    end

    test "an address that is taken" do
      {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
      {:ok, port} = :inet.port(socket)
      assert_refused([listen: {"127.0.0.1", port}], :exited, "in use")
    end

    test "options that can't be" do
      for {opts, words} <- [
            {[nonsense: 1], "does not know the option :nonsense"},
            {[listen: :udp], ":listen has to be :unix, :tcp or {host, port}"},
            {[mode: :other], ":mode has to be :server or :port"},
            {[startup_timeout: "1"], ":startup_timeout"},
            {[args: "--verbose"], ":args has to be a list of arguments"},
            {[socket_dir: "/" <> String.duplicate("x", 110)], "too long for a Unix socket"}
          ] do
        assert_refused(opts, :bad_option, words)
      end

      assert {:error, %StartError{reason: :bad_option}} = PgliteEx.start_link([1])
    end

    test "a supervisor says why" do
      Process.flag(:trap_exit, true)

      assert {:error, {:shutdown, {:failed_to_start_child, PgliteEx, %StartError{reason: :not_found}}}} =
               Supervisor.start_link([{PgliteEx, binary: "/nowhere/pgcell"}], strategy: :one_for_one)
    end
  end

  describe "where the program is looked for:" do
    setup do
      saved = System.get_env("PGCELL_BINARY")
      path = System.get_env("PATH")

      on_exit(fn ->
        if saved, do: System.put_env("PGCELL_BINARY", saved), else: System.delete_env("PGCELL_BINARY")
        System.put_env("PATH", path)
        Application.delete_env(:pglite_ex, :binary)
      end)

      System.delete_env("PGCELL_BINARY")
    end

    test "option, environment, configuration, PATH, in this order" do
      dir = Path.join(folder(), "bin")
      File.mkdir_p!(dir)
      File.cp!(script("exit 1"), Path.join(dir, "pgcell"))
      {first, second, third} = {script(""), script(""), script("")}
      alias PgliteEx.Binary

      System.put_env("PATH", "/nowhere")
      assert {:error, %StartError{reason: :not_found, message: message}} = Binary.find()
      assert message =~ "PGCELL_BINARY"
      System.put_env("PATH", dir)
      assert {:ok, Path.join(dir, "pgcell")} == Binary.find()
      Application.put_env(:pglite_ex, :binary, third)
      assert {:ok, ^third} = Binary.find()
      System.put_env("PGCELL_BINARY", second)
      assert {:ok, ^second} = Binary.find()
      assert {:ok, ^first} = Binary.find(binary: first)
      System.put_env("PGCELL_BINARY", "/nowhere/else")
      assert {:error, %StartError{message: message}} = Binary.find()
      assert message =~ "the environment variable PGCELL_BINARY"
    end

    test "priv/ of an application" do
      System.put_env("PATH", "/nowhere")
      lib = Path.join(folder(), "bundled-1.0")
      File.mkdir_p!(Path.join(lib, "priv"))
      File.mkdir_p!(Path.join(lib, "ebin"))
      File.cp!(script(""), Path.join(lib, "priv/pgcell"))
      File.write!(Path.join(lib, "ebin/bundled.app"), "{application, bundled, [{vsn, \"1.0\"}]}.")
      :code.add_path(String.to_charlist(Path.join(lib, "ebin")))
      assert {:ok, path} = PgliteEx.Binary.find(otp_app: :bundled)
      assert path == Path.join(lib, "priv/pgcell")
      assert {:error, _} = PgliteEx.Binary.find(otp_app: :not_bundled)
    end
  end

  test "telemetry" do
    events = [
      [:pglite_ex, :server, :ready],
      [:pglite_ex, :server, :down],
      [:pglite_ex, :bridge, :ready],
      [:pglite_ex, :exec, :stop],
      [:pglite_ex, :cell, :stop]
    ]

    handler = attach_telemetry(events, self())
    on_exit(fn -> detach_telemetry(handler) end)
    {:ok, server} = start(name: :with_telemetry, backoff: {50, 100})

    assert_receive {:telemetry, [_, :server, :ready], %{duration: _},
                    %{name: :with_telemetry, os_pid: os_pid, restarts: 0}}

    assert {:ok, _} = PgliteEx.query(server, "select 1")
    assert_receive {:telemetry, [_, :bridge, :ready], %{duration: _}, %{restarts: 0}}

    assert_receive {:telemetry, [_, :exec, :stop], %{duration: _, bytes_in: 14, bytes_out: out},
                    %{result: :ok}}

    assert out > 20
    assert :ok = PgliteEx.create_cell(server, "there")

    assert_receive {:telemetry, [_, :cell, :stop], %{duration: _},
                    %{command: :create, cells: ["there"], result: :ok}}

    kill(os_pid)

    assert_receive {:telemetry, [_, :server, :down], _,
                    %{name: :with_telemetry, os_pid: ^os_pid, reason: reason}},
                   5_000

    assert reason =~ "137" or reason =~ "signal 9" or reason =~ "ended"
    assert_receive {:telemetry, [_, :server, :ready], _, %{restarts: 1}}, 10_000
    PgliteEx.stop(server)
  end
end
