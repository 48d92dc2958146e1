defmodule PgliteEx.Case do
  @moduledoc """
  An ExUnit case in which each test has a cell of its own.

      # test/test_helper.exs
      {:ok, _} = PgliteEx.start_link(name: MyApp.PG)
      {:ok, _} = PgliteEx.CellPool.start_link(name: MyApp.Cells, server: MyApp.PG)
      ExUnit.start()

      # test/users_test.exs
      defmodule MyApp.UsersTest do
        use PgliteEx.Case, pool: MyApp.Cells, async: true

        test "a table of my own", %{pg: pg} do
          {:ok, _} = PgliteEx.query(pg, "create table users (name text)")
          {:ok, %{num_rows: 0}} = PgliteEx.query(pg, "select from users")
        end

        test "with a driver", %{connection_opts: opts} do
          {:ok, conn} = start_supervised({Postgrex, opts})
          Postgrex.query!(conn, "select 1", [])
        end
      end

  Options of `use`: `:pool` (required), `:session` (`false`: no bridge is started, and there is no `:pg`; default `true`), and those of
  `ExUnit.Case`.

  In the context are `:cell` (the name), `:connection_opts` for it, and `:pg`, a `PgliteEx.Bridge` with a session in it. The cell is dropped
  when the test's process ends.
  """

  alias PgliteEx.{Bridge, CellPool}

  @doc false
  defmacro __using__(opts) do
    {ours, theirs} = Keyword.split(opts, [:pool, :session])

    quote do
      use ExUnit.Case, unquote(theirs)

      setup do
        PgliteEx.Case.checkout(unquote(ours))
      end
    end
  end

  @doc """
  What the case does before each test, for case templates of your own: the map for the context. Called in the test's process. Raises when there
  is no cell to be had. Options: `:pool`, `:session`, as above.
  """
  @spec checkout(keyword) :: %{cell: PgliteEx.cell(), connection_opts: keyword, pg: pid}
  def checkout(opts) do
    pool = Keyword.fetch!(opts, :pool)
    cell = CellPool.checkout(pool) |> value("a cell")
    server = CellPool.server(pool) |> value("a server")
    context = %{cell: cell, connection_opts: PgliteEx.connection_opts(server, cell: cell)}

    if Keyword.get(opts, :session, true) do
      session = [server: server, cell: cell, owner: self(), restart: false]
      Map.put(context, :pg, session |> Bridge.start() |> value("a session in cell #{cell}"))
    else
      context
    end
  end

  defp value({:ok, value}, _what), do: value

  defp value({:error, reason}, what) do
    text = if is_exception(reason), do: Exception.message(reason), else: inspect(reason)
    raise "PgliteEx.Case: no #{String.replace_prefix(what, "a ", "")}: #{text}"
  end
end
