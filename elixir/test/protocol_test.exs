defmodule PgliteEx.ProtocolTest do
  use ExUnit.Case, async: true

  alias PgliteEx.{Error, Exchange, Protocol, Scanner, Types}

  doctest PgliteEx.Protocol

  defp message(type, body), do: <<type, byte_size(body) + 4::32, body::binary>>
  defp bytes(parts), do: IO.iodata_to_binary(parts)

  describe "scanner" do
    test "finds what is told wherever the chunks are cut" do
      error = "SFATAL\0VFATAL\0C57P01\0Mbye\0\0"
      answer = message(?T, "whatever") <> message(?E, error) <> message(?D, "") <> message(?Z, "I")
      first_end = 13 + byte_size(error) + 5

      for size <- 1..byte_size(answer) do
        {events, scanner} = scan_in_pieces(answer, size)
        assert [{?E, ^error, ^first_end}, {?Z, "I", total}] = events
        assert total == byte_size(answer)
        assert Scanner.is_between?(scanner)
      end
    end

    defp scan_in_pieces(answer, size, at \\ 0, scanner \\ Scanner.new(), found \\ [])

    defp scan_in_pieces(answer, _size, at, scanner, found) when at == byte_size(answer),
      do: {found, scanner}

    defp scan_in_pieces(answer, size, at, scanner, found) do
      size = min(size, byte_size(answer) - at)
      {events, scanner} = Scanner.scan(scanner, binary_part(answer, at, size))
      events = for {type, body, offset} <- events, do: {type, body, at + offset}
      scan_in_pieces(answer, size, at + size, scanner, found ++ events)
    end

    test "skips a message of 1 GB without having it" do
      {[], scanner} = Scanner.scan(Scanner.new(), <<?D, 1_000_000_000::32, "abc">>)
      refute Scanner.is_between?(scanner)
      assert {[], %{skip: 999_998_993}} = Scanner.scan(scanner, :binary.copy("x", 1000))
    end

    test "keeps no more than a mebibyte of an error" do
      {_, scanner} = Scanner.scan(Scanner.new(), <<?E, 100_000_004::32>>)
      chunk = :binary.copy("x", 1_000_000)

      {events, _scanner} =
        Enum.reduce(1..100, {[], scanner}, fn _turn, {_events, scanner} -> Scanner.scan(scanner, chunk) end)

      assert [{?E, body, 1_000_000}] = events
      assert byte_size(body) == 2_000_000
    end

    test "says what is not the protocol" do
      assert {:error, text} = Scanner.scan(Scanner.new(), "HTTP/1.1 400 Bad Request")
      assert text =~ "not PostgreSQL's"
      assert {:error, _} = Scanner.scan(Scanner.new(), <<?D, 3::32>>)
      assert {:error, _} = Scanner.scan(Scanner.new(), <<0, 100::32>>)
    end
  end

  describe "exchange" do
    test "owes a ReadyForQuery for each query and sync" do
      query = bytes(Protocol.query("x"))
      assert {:wait, exchange} = Exchange.send_off(Exchange.new(), query <> query <> bytes(Protocol.sync()))
      exchange = exchange |> Exchange.ready() |> Exchange.ready()
      refute Exchange.is_over?(exchange)
      assert exchange |> Exchange.ready() |> Exchange.is_over?()
    end

    test "has nothing to wait for without them" do
      assert {:nothing_owed, exchange} =
               Exchange.send_off(Exchange.new(), bytes(Protocol.parse("", "select 1")))

      assert Exchange.is_open?(exchange)
      assert {:wait, exchange} = Exchange.send_off(exchange, bytes(Protocol.sync()))
      refute exchange |> Exchange.ready() |> Exchange.is_open?()
    end

    test "gives control back for COPY without its data, and not for COPY with it" do
      query = bytes(Protocol.query("copy t from stdin"))
      data = bytes([Protocol.copy_data("1\n"), Protocol.copy_done()])

      {:wait, exchange} = Exchange.send_off(Exchange.new(), query)
      exchange = Exchange.copy_in(exchange)
      assert Exchange.is_over?(exchange)
      assert {:error, text} = Exchange.send_off(exchange, query)
      assert text =~ "COPY FROM STDIN waits for data"
      assert {:nothing_owed, exchange} = Exchange.send_off(exchange, bytes(Protocol.copy_data("1\n")))
      assert {:wait, exchange} = Exchange.send_off(exchange, data)
      assert exchange |> Exchange.ready() |> Exchange.is_over?()

      {:wait, exchange} = Exchange.send_off(Exchange.new(), query <> data)
      exchange = Exchange.copy_in(exchange)
      refute Exchange.is_over?(exchange)
      assert exchange |> Exchange.ready() |> Exchange.is_over?()
    end

    test "knows that COPY in an extended query swallows a sync" do
      execute = [
        Protocol.parse("", "copy t from stdin"),
        Protocol.bind("", []),
        Protocol.execute(),
        Protocol.sync()
      ]

      done = bytes([Protocol.copy_done(), Protocol.sync()])

      {:wait, exchange} = Exchange.send_off(Exchange.new(), bytes(execute))
      exchange = Exchange.copy_in(exchange)
      assert Exchange.is_over?(exchange)
      assert {:wait, exchange} = Exchange.send_off(exchange, done)
      assert exchange |> Exchange.ready() |> Exchange.is_over?()

      {:wait, exchange} = Exchange.send_off(Exchange.new(), bytes([execute, done]))
      exchange = Exchange.copy_in(exchange)
      refute Exchange.is_over?(exchange)
      assert exchange |> Exchange.ready() |> Exchange.is_over?()
    end

    test "takes the end of a COPY that had failed already for nothing" do
      data = bytes([Protocol.copy_data("x"), Protocol.copy_done()])
      assert {:nothing_owed, _} = Exchange.send_off(Exchange.new(), data)

      {:wait, exchange} =
        Exchange.send_off(Exchange.new(), bytes(Protocol.query("copy none from stdin")) <> data)

      assert exchange |> Exchange.ready() |> Exchange.is_over?()
    end

    test "says what is wrong with a message" do
      for {bytes, words} <- [
            {"", "empty"},
            {"hello", "does not begin a message"},
            {<<?Q, 100::32, "select 1", 0>>, "says it has 100 bytes"},
            {<<?Q, 3::32>>, "says it has 3 bytes"},
            {<<?Q, 0xFFFFFFFF::32>>, "says it has"},
            {<<?Q, 0, 0>>, "ends within the header"},
            {bytes(Protocol.query("select 1")) <> "junk", "byte 14"},
            {bytes(Protocol.query("select 1")) <> "!", "byte 14"},
            {bytes(Protocol.terminate()), "stop the bridge"},
            {bytes(Protocol.startup([{"user", "x"}])), "does not begin a message"}
          ] do
        assert {:error, text} = Exchange.send_off(Exchange.new(), bytes)
        assert text =~ words
      end
    end
  end

  test "an error's fields" do
    body = "SERREUR\0VERROR\0C23505\0Mduplicate\0DKey (a)=(1)\0tt\0nt_pkey\0?new\0\0"

    assert %Error{severity: "ERROR", code: "23505", message: "duplicate", fields: fields} =
             error = Error.from_fields(body)

    assert fields == %{detail: "Key (a)=(1)", table: "t", constraint: "t_pkey"}
    assert Exception.message(error) == "ERROR 23505: duplicate\ndetail: Key (a)=(1)"
    assert %Error{code: "23505", message: ""} = Error.from_fields("C23505\0Mdupli")
  end

  test "values that can't be sent" do
    for value <- [%{}, [], [1], {:bytea, 1}, self(), :atom, make_ref()],
        do: assert(Types.encode(value) == :error)
  end

  test "answers that are cut short raise" do
    assert_raise ArgumentError, fn -> Protocol.messages(<<?Z, 5::32>>) end
  end
end
