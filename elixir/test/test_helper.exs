alias PgliteEx.Support

File.exists?(Support.real()) ||
  raise "there is no #{Support.real()}: build it (make), or set PGCELL_BINARY"

abilities = Support.prepare()

for ability <- [:serve, :port, :cell] -- abilities do
  IO.puts("note: this pgcell has no #{ability} as PgliteEx wants it; tests of it run against a stand-in")
end

has_postgrex? = Code.ensure_loaded?(Postgrex)

unless has_postgrex?,
  do:
    IO.puts(
      "note: Postgrex is not here (PGLITE_EX_HEX=1 fetches it); its tests run against a stub, and those of the real one are skipped"
    )

has_p1_pgsql? = Code.ensure_loaded?(:pgsql)

unless has_p1_pgsql?,
  do:
    IO.puts(
      "note: p1_pgsql is not here (Debian package erlang-p1-pgsql); the tests of a real driver are skipped"
    )

exclude =
  for {tag, false} <- [
        postgrex: has_postgrex?,
        p1_pgsql: has_p1_pgsql?,
        real_cell: :cell in abilities,
        # opt-in: minutes, or a machine of one's own
        slow: false
      ],
      do: tag

ExUnit.after_suite(fn _result ->
  left =
    Enum.reduce_while(1..100, [], fn _turn, _left ->
      case Support.processes() do
        [] ->
          {:halt, []}

        left ->
          Process.sleep(50)
          {:cont, left}
      end
    end)

  File.rm_rf!(Support.folder())

  if left != [] do
    IO.puts("processes are left behind: #{inspect(left, pretty: true)}")
    System.halt(1)
  end
end)

ExUnit.start(exclude: exclude, capture_log: true, timeout: 60_000)
