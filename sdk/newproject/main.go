// Newproject writes a new project for a transform, as "wasmill plugin new" does. It lets
// sdk/test-langs.sh try the templates without building the broker.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/wasmill/wasmill/sdk"
)

func main() {
	lang := flag.String("lang", "go", "language of the project")
	name := flag.String("name", "my-transform", "name of the module")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: newproject [-lang L] [-name N] DIR")
		os.Exit(2)
	}
	if err := sdk.NewProject(flag.Arg(0), *name, *lang); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
