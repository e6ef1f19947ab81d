package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/vfs"
)

// dataFormat is the version of the data directory's layout; a newer one is never touched.
const dataFormat = 1

// Errors of a data directory that cannot be used.
var (
	// ErrDataDirInUse: another broker has the directory open.
	ErrDataDirInUse = errors.New("the data directory is in use by another broker")
	// ErrDataDirNewer: a later version of Wasmill wrote the directory.
	ErrDataDirNewer = errors.New("the data directory was written by a newer version of Wasmill")
	// ErrDataDirUnusable: the directory cannot be made, read or written.
	ErrDataDirUnusable = errors.New("the data directory cannot be used")
)

// dataDirInfo is the file wasmill.json at the root of a data directory:
//
//	{"format": 1, "created_by": "v0.1.0"}
type dataDirInfo struct {
	Format    int    `json:"format"`
	CreatedBy string `json:"created_by"`
}

// openDataDir makes the directory when missing, takes its lock and checks its format.
func openDataDir(fsys vfs.FS, dir, version string) (io.Closer, error) {
	if err := vfs.MkdirAllSynced(fsys, dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDirUnusable, err)
	}
	lock, err := fsys.Lock(path.Join(dir, "LOCK"))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", ErrDataDirInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDirUnusable, err)
	}
	if err := checkFormat(fsys, dir, version); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func checkFormat(fsys vfs.FS, dir, version string) error {
	name := path.Join(dir, "wasmill.json")
	f, err := fsys.OpenReadOnly(name)
	if errors.Is(err, fs.ErrNotExist) {
		b, err := json.Marshal(dataDirInfo{Format: dataFormat, CreatedBy: version})
		if err != nil {
			return err
		}
		return vfs.ReplaceFileSynced(fsys, name, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDirUnusable, err)
	}
	defer f.Close()
	var info dataDirInfo
	if err := json.NewDecoder(io.NewSectionReader(f, 0, 1<<16)).Decode(&info); err != nil {
		return fmt.Errorf("%w: %s: %w; restore the file", ErrDataDirUnusable, name, err)
	}
	if info.Format > dataFormat {
		return fmt.Errorf("%w: %s has format %d, this broker knows %d",
			ErrDataDirNewer, dir, info.Format, dataFormat)
	}
	return nil
}

// nameCluster gives a new cluster its id.
func (b *Broker) nameCluster(ctx context.Context) error {
	if b.meta.Image().ClusterID() != "" {
		return nil
	}
	_, err := b.meta.Propose(ctx, metadata.SetClusterInfo{ClusterID: rand.Text()})
	return err
}
