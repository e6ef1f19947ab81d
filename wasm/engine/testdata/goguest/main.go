// A guest in Go that does as each value says.
package main

import (
	"fmt"
	"os"
	"time"

	wasmill "github.com/wasmill/wasmill/sdk/go"
)

var hoard [][]byte

func obey(r *wasmill.Record, out *wasmill.Output) {
	switch string(r.Value()) {
	case "panic":
		panic("boom")
	case "exit":
		os.Exit(4)
	case "print":
		fmt.Println("hello from Go")
	case "hoard":
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "time":
		r.SetValue([]byte(time.Now().UTC().Format(time.RFC3339Nano)))
	case "memory":
		r.SetValue([]byte(os.Getenv("GOMEMLIMIT")))
	case "files":
		_, err := os.ReadDir("/")
		r.SetValue(fmt.Append(nil, err != nil))
	}
	out.Keep()
}

func init() { wasmill.Register(wasmill.Transform{Record: obey}) }

func main() {}
