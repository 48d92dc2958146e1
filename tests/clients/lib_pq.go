// lib/pq behind database/sql, with its listener. It has no COPY TO.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

const busy = "select count(*) from (select generate_series(1, 2000000000)) s"

func connect() {
	for way, dsn := range map[string]string{"TCP": tcp, "Unix socket": unix} {
		check("connect: "+way, func() {
			c, done := connection(dsn)
			defer done()
			equal(value[int](c, "select 6 * $1::int", 7), 42)
			equal(value[int](c, "show server_version_num") >= 180000, true)
		})
	}
	check("connect: no such database", func() {
		e := fails(open(tcp+" dbname=nosuch@"+cell).Ping(), "3D000")
		equal(e.Severity, "FATAL")
	})
	check("connect: no such role", func() {
		equal(fails(open(tcp+" user='nobody here'").Ping(), "28000").Message, `role "nobody here" does not exist`)
	})
	check("connect: another cell is another PostgreSQL", func() {
		must(run(db, "create table here (i int)"))
		other, done := connection(tcp + " dbname=" + database + "-2")
		defer done()
		fails(run(other, "select * from here"), "42P01")
	})
}

// both does it with parameters as text, and as bytes.
func both(name string, body func(*sql.DB)) {
	for way, more := range map[string]string{"": "", ", binary parameters": " binary_parameters=yes"} {
		check(name+way, func() {
			db := open(tcp + more)
			defer db.Close()
			body(db)
		})
	}
}

func types() {
	both("types: numbers", func(db *sql.DB) {
		equal(value[int64](db, "select $1::bigint", int64(math.MinInt64)), int64(math.MinInt64))
		equal(value[string](db, "select $1::numeric", "12345678901234567890.1234567890"), "12345678901234567890.1234567890")
		equal(value[float64](db, "select $1::float8", 0.1), 0.1)
		equal(value[float64](db, "select $1::float8", math.Inf(-1)), math.Inf(-1))
		equal(value[bool](db, "select $1::bool", false), false)
	})
	both("types: text, bytea", func(db *sql.DB) {
		text := strings.Repeat("Žluťoučký κόσμε 日本語 🐘 e\u0301 '\"\\\n", 10_000)
		every := make([]byte, 1_000_000)
		for i := range every {
			every[i] = byte(i*7 + i/251)
		}
		equal(value[string](db, "select $1::text", text), text)
		equal(value[string](db, "select $1::text", ""), "")
		equal(bytes.Equal(value[[]byte](db, "select $1::bytea", every), every), true)
	})
	both("types: json, jsonb, uuid", func(db *sql.DB) {
		const document = `{"a": [1, null, "ü🐘"]}`
		var parsed struct{ A []any }
		must(json.Unmarshal(value[[]byte](db, "select $1::jsonb", document), &parsed))
		equal(parsed.A, []any{1.0, nil, "ü🐘"})
		equal(value[string](db, "select $1::json", document), document)
		equal(value[string](db, "select $1::uuid", "6f1ed002-ab5d-4a3c-9d0e-0123456789ab"), "6f1ed002-ab5d-4a3c-9d0e-0123456789ab")
	})
	both("types: arrays", func(db *sql.DB) {
		texts := []sql.NullString{{String: "a,b", Valid: true}, {String: `"\`, Valid: true}, {}, {String: "NULL", Valid: true}, {Valid: true}}
		var again []sql.NullString
		must(db.QueryRow("select $1::text[]", pq.Array(texts)).Scan(pq.Array(&again)))
		equal(again, texts)
		var numbers pq.Int64Array
		must(db.QueryRow("select $1::bigint[]", pq.Int64Array{1, -3}).Scan(&numbers))
		equal(numbers, pq.Int64Array{1, -3})
	})
	both("types: time, null", func(db *sql.DB) {
		for _, sent := range []time.Time{time.Date(2024, 2, 29, 23, 59, 59, 123456000, time.UTC), time.Date(1961, 4, 12, 6, 7, 0, 1000, time.UTC)} {
			equal(value[time.Time](db, "select $1::timestamptz", sent).UTC(), sent)
		}
		equal(value[*string](db, "select $1::text", nil), (*string)(nil))
		equal(value[bool](db, "select $1::int is null", nil), true)
	})
}

func prepared() {
	check("prepared: a statement, 300 times, on whichever connection", func() {
		statement, err := db.Prepare("select $1::int * 2")
		must(err)
		defer statement.Close()
		var all sync.WaitGroup
		wrong := make(chan any, 300)
		for i := 0; i < 300; i++ {
			all.Add(1)
			go func(i int) {
				defer all.Done()
				var twice int
				if err := statement.QueryRow(i).Scan(&twice); err != nil || twice != 2*i {
					wrong <- fmt.Sprint(i, twice, err)
				}
			}(i)
		}
		all.Wait()
		equal(len(wrong), 0)
	})
	check("prepared: an error leaves it usable", func() {
		c, done := connection(tcp)
		defer done()
		statement, err := c.PrepareContext(ctx, "select 10 / $1::int")
		must(err)
		var q int
		fails(statement.QueryRow(0).Scan(&q), "22012")
		must(statement.QueryRow(5).Scan(&q))
		equal(q, 2)
		equal(value[int](c, "select count(*) from pg_prepared_statements where statement like 'select 10 /%'"), 1)
	})
}

func copying() {
	must(run(db, "create table copied (i int primary key, v text)"))
	in := func(rows int, value func(int) any) error {
		tx, err := db.Begin()
		must(err)
		defer tx.Rollback()
		statement, err := tx.Prepare(pq.CopyIn("copied", "i", "v"))
		must(err)
		for i := 0; i < rows; i++ {
			if _, err := statement.Exec(value(i), fmt.Sprint("ůň\t", i)); err != nil {
				return err
			}
		}
		if _, err := statement.Exec(); err != nil {
			return err
		}
		must(statement.Close())
		return tx.Commit()
	}
	check("copy: in", func() {
		must(in(20_000, func(i int) any { return i }))
		equal(value[int](db, `select sum(i) from copied where v = E'ůň\t' || i`), 19_999*20_000/2)
	})
	check("copy: a bad row undoes it", func() {
		e := fails(in(3, func(i int) any { return []any{50_000, "bad", 50_001}[i] }), "22P02")
		equal(e.Where, `COPY copied, line 2, column i: "bad"`)
		equal(value[int](db, "select count(*) from copied"), 20_000)
	})
}

func errorFields() {
	check("errors: fields", func() {
		must(run(db, "create table strict (i int primary key); insert into strict values (1)"))
		e := fails(run(db, "insert into strict values ($1)", 1), "23505")
		equal([]string{e.Severity, e.Constraint, e.Table, e.Schema, e.Detail},
			[]string{"ERROR", "strict_pkey", "strict", "public", "Key (i)=(1) already exists."})
		equal(fails(run(db, "select nothing"), "42703").Position, "8")
		e = fails(run(db, "do $$ begin raise exception 'own' using errcode = 'ZZ001', detail = 'dé', hint = 'hí'; end $$"), "ZZ001")
		equal([]string{e.Message, e.Detail, e.Hint, e.Where},
			[]string{"own", "dé", "hí", "PL/pgSQL function inline_code_block line 1 at RAISE"})
	})
	check("errors: a session that another one ends", func() {
		victim, done := connection(tcp)
		defer done()
		pid := value[int](victim, "select pg_backend_pid()")
		time.AfterFunc(200*time.Millisecond, func() { run(db, "select pg_terminate_backend($1)", pid) })
		equal(run(victim, "select pg_sleep(20)"), driver.ErrBadConn) // what it makes of a FATAL error
	})
}

func reset() {
	must(run(db, "truncate account; insert into account select i, 100 from generate_series(1, 20) i"))
}

func amounts() string {
	return value[string](db, "select array_agg(amount order by id) from account where id <= 2")
}

func give(q querier, id, amount int) error {
	return run(q, "update account set amount = amount + $2 where id = $1", id, amount)
}

// twoTransactions has both do `first` before either does `second`; their errors, nil where it was committed.
func twoTransactions(options *sql.TxOptions, first, second func(*sql.Tx, int) error) (errs [2]error) {
	var all, arrived sync.WaitGroup
	all.Add(2)
	arrived.Add(2)
	for i := 0; i < 2; i++ {
		go func(i int) {
			defer all.Done()
			tx, err := db.BeginTx(ctx, options)
			if err == nil {
				defer tx.Rollback()
				err = first(tx, i)
			}
			arrived.Done()
			arrived.Wait()
			if err == nil {
				err = second(tx, i)
			}
			if err == nil {
				err = tx.Commit()
			}
			errs[i] = err
		}(i)
	}
	all.Wait()
	return errs
}

// oneFails wants one of them to have failed with this SQLSTATE.
func oneFails(errs [2]error, sqlstate string) {
	if errs[0] == nil {
		errs[0], errs[1] = errs[1], errs[0]
	}
	fails(errs[0], sqlstate)
	must(errs[1])
}

func transactions() {
	must(run(db, "create table account (id int primary key, amount int not null)"))
	check("transactions: commit, rollback, savepoint", func() {
		reset()
		tx, err := db.Begin()
		must(err)
		must(give(tx, 1, 1))
		equal(amounts(), "{100,100}")
		must(run(tx, "savepoint s"))
		fails(run(tx, "select 1 / 0"), "22012")
		fails(run(tx, "select 1"), "25P02")
		must(run(tx, "rollback to s"))
		must(give(tx, 2, 2))
		must(tx.Commit())
		tx, err = db.Begin()
		must(err)
		must(give(tx, 1, 50))
		must(tx.Rollback())
		equal(amounts(), "{101,102}")
	})
	check("transactions: serializable ones that conflict", func() {
		reset()
		oneFails(twoTransactions(&sql.TxOptions{Isolation: sql.LevelSerializable},
			func(tx *sql.Tx, _ int) error { return run(tx, "select sum(amount) from account") },
			func(tx *sql.Tx, i int) error { return give(tx, 1+i, -100) }), "40001")
	})
	check("transactions: a deadlock", func() {
		reset()
		oneFails(twoTransactions(nil,
			func(tx *sql.Tx, i int) error {
				must(run(tx, "set local deadlock_timeout = '200ms'"))
				return give(tx, 1+i, 1)
			},
			func(tx *sql.Tx, i int) error { return give(tx, 2-i, 1) }), "40P01")
		equal(amounts(), "{101,101}")
	})
}

func notifications() {
	check("notifications: to an idle connection", func() {
		listener := pq.NewListener(tcp, time.Second, time.Second, nil)
		defer listener.Close()
		must(listener.Listen("news"))
		time.Sleep(500 * time.Millisecond)
		must(run(db, "begin; notify news, 'never'; rollback"))
		must(run(db, "select pg_notify('news', 'žádné'), pg_notify('other', 'x')"))
		select {
		case n := <-listener.Notify:
			equal(n.Channel+" "+n.Extra, "news žádné")
		case <-time.After(5 * time.Second):
			panic("nothing comes")
		}
		must(listener.Ping())
		equal(len(listener.Notify), 0)
	})
}

func cancel() {
	for way, dsn := range map[string]string{"TCP": tcp, "the Unix socket": unix} {
		for _, query := range []string{"select pg_sleep(20)", busy} {
			check("cancel: over "+way+": "+query, func() {
				c, done := connection(dsn)
				defer done()
				soon, stop := context.WithTimeout(ctx, 300*time.Millisecond)
				defer stop()
				_, err := c.ExecContext(soon, query)
				equal(fails(err, "57014").Message, "canceling statement due to user request")
			})
		}
	}
	check("cancel: statement_timeout", func() {
		c, done := connection(strings.Replace(tcp, "statement_timeout=", "statement_timeout=300 application_name=", 1))
		defer done()
		for _, query := range []string{"select pg_sleep(20)", busy} {
			equal(fails(run(c, query), "57014").Message, "canceling statement due to statement timeout")
		}
		equal(value[int](c, "select 1"), 1)
	})
}

func pool() {
	check("pool: 20 connections move money and lose none", func() {
		reset()
		pool := open(tcp)
		defer pool.Close()
		pool.SetMaxOpenConns(20)
		var all sync.WaitGroup
		wrong := make(chan error, 400)
		for i := 0; i < 400; i++ {
			all.Add(1)
			go func(i int) {
				defer all.Done()
				wrong <- move(pool, 1+i%20, 1+(i*7+3)%20, i)
			}(i)
		}
		all.Wait()
		close(wrong)
		for err := range wrong {
			must(err)
		}
		equal(value[int](db, "select sum(amount) from account"), 2000)
		equal(value[bool](db, "select sum(abs(amount - 100)) > 0 from account"), true)
	})
}

func move(pool *sql.DB, from, to, amount int) error {
	tx, err := pool.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if from > to { // in one order: no deadlock
		from, to, amount = to, from, -amount
	}
	if err = give(tx, from, -amount); err == nil {
		err = give(tx, to, amount)
	}
	if err != nil || amount%5 == 0 {
		return err
	}
	return tx.Commit()
}

func main() {
	db.SetMaxOpenConns(10)
	for _, part := range []func(){connect, types, prepared, copying, errorFields, transactions, notifications, cancel, pool} {
		part()
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
