// What lib_pq.go checks with: connections, checks that are counted, and errors that must come.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/lib/pq"
)

var (
	passed, failed int
	tcp            = "sslmode=disable connect_timeout=20 statement_timeout=" + os.Getenv("CLIENTS_STATEMENT_MS")
	unix           = fmt.Sprintf("%s host=%s port=%s", tcp, os.Getenv("CLIENTS_SOCKET_DIR"), os.Getenv("CLIENTS_SOCKET_PORT"))
	database       = os.Getenv("PGDATABASE")
	cell           = strings.Split(database, "@")[1]
	ctx            = context.Background()
	db             = open(tcp)
)

// A check panics when it fails: in a test the stack is not wanted.
func check(name string, body func()) {
	defer func() {
		if reason := recover(); reason != nil {
			failed++
			fmt.Printf("FAILED %s: %s\n", name, strings.ReplaceAll(fmt.Sprint(reason), "\n", " | "))
			return
		}
		passed++
		fmt.Println("ok " + name)
	}()
	body()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Sprintf("%.200v instead of %.200v", got, expected))
	}
}

// fails wants an error with this SQLSTATE.
func fails(err error, sqlstate string) *pq.Error {
	var e *pq.Error
	if !errors.As(err, &e) {
		panic(fmt.Sprintf("%v instead of SQLSTATE %s", err, sqlstate))
	}
	equal(string(e.Code), sqlstate)
	return e
}

func open(dsn string) *sql.DB {
	db, err := sql.Open("postgres", dsn)
	must(err)
	return db
}

type querier interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

// value is the first one.
func value[T any](q querier, query string, parameters ...any) (v T) {
	must(q.QueryRowContext(ctx, query, parameters...).Scan(&v))
	return v
}

func run(q querier, query string, parameters ...any) error {
	_, err := q.ExecContext(ctx, query, parameters...)
	return err
}

func connection(dsn string) (*sql.Conn, func()) {
	pool := open(dsn)
	c, err := pool.Conn(ctx)
	must(err)
	return c, func() { c.Close(); pool.Close() }
}
