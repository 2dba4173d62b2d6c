// Command log_check reads an exported log with the Go toolchain's own transparency log packages: it opens the signed
// checkpoint, reads every tile that a proof needs through a reader that checks it against the root, and compares the
// proofs with those that were exported, and the entry bundles with the tree. It shares no line with what it checks.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"log_check/note"
	"log_check/tlog"
)

type inclusion struct {
	Index  int64
	Size   int64
	Leaf   string
	Root   string
	Hashes []string
}

type consistency struct {
	Old     int64
	New     int64
	OldRoot string
	NewRoot string
	Hashes  []string
}

type exported struct {
	Origin      string
	Vkey        string
	Inclusion   []inclusion
	Consistency []consistency
	Entries     bool
}

func check(err error, what ...any) {
	if err != nil {
		fmt.Fprintln(os.Stderr, append(what, err)...)
		os.Exit(1)
	}
}

func hash(text string) tlog.Hash {
	raw, err := base64.StdEncoding.DecodeString(text)
	check(err, "hash")
	if len(raw) != tlog.HashSize {
		check(fmt.Errorf("%d bytes", len(raw)), "hash")
	}
	var one tlog.Hash
	copy(one[:], raw)
	return one
}

func hashes(texts []string) []tlog.Hash {
	all := []tlog.Hash{}
	for _, text := range texts {
		all = append(all, hash(text))
	}
	return all
}

// folder serves exported tiles; these packages put the tile height into paths, the exported ones do not.
type folder string

func (folder) Height() int                         { return 8 }
func (folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (dir folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := [][]byte{}
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		raw, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil {
			return nil, err
		}
		all = append(all, raw)
	}
	return all, nil
}

func same(ours []tlog.Hash, theirs []string) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for at, one := range ours {
		if one != hash(theirs[at]) {
			return false
		}
	}
	return true
}

// entries holds every leaf of the entry bundles against the tree: big-endian uint16 lengths, 256 entries a bundle.
func entries(dir string, size int64, reader tlog.HashReader) {
	at := int64(0)
	for at < size {
		tile := tlog.Tile{H: 8, L: -1, N: at / 256, W: int(min(256, size-at))}
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		raw, err := os.ReadFile(filepath.Join(dir, path))
		check(err, "entries")
		for range tile.W {
			if len(raw) < 2 || len(raw)-2 < int(binary.BigEndian.Uint16(raw)) {
				check(fmt.Errorf("cut at %d", at), path)
			}
			end := 2 + int(binary.BigEndian.Uint16(raw))
			stored, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
			check(err, "leaf", at)
			if stored[0] != tlog.RecordHash(raw[2:end]) {
				check(fmt.Errorf("another leaf"), "leaf", at)
			}
			raw, at = raw[end:], at+1
		}
		if len(raw) != 0 {
			check(fmt.Errorf("more than %d entries", tile.W), path)
		}
	}
}

func main() {
	dir := os.Args[1]
	raw, err := os.ReadFile(filepath.Join(dir, "proofs.json"))
	check(err, "proofs")
	var log exported
	check(json.Unmarshal(raw, &log), "proofs")

	verifier, err := note.NewVerifier(log.Vkey)
	check(err, "vkey")
	raw, err = os.ReadFile(filepath.Join(dir, "checkpoint"))
	check(err, "checkpoint")
	opened, err := note.Open(raw, note.VerifierList(verifier))
	check(err, "checkpoint")
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != log.Origin {
		check(fmt.Errorf("%q", lines), "checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	tree := tlog.Tree{N: size, Hash: hash(lines[2])}
	reader := tlog.TileHashReader(tree, folder(dir))

	for _, one := range log.Inclusion {
		check(tlog.CheckRecord(hashes(one.Hashes), one.Size, hash(one.Root), one.Index, hash(one.Leaf)), one)
		proof, err := tlog.ProveRecord(one.Size, one.Index, reader)
		check(err, "inclusion", one.Index, one.Size)
		if !same(proof, one.Hashes) {
			check(fmt.Errorf("another proof"), "inclusion", one.Index, one.Size)
		}
		root, err := tlog.TreeHash(one.Size, reader)
		check(err, "root", one.Size)
		if root != hash(one.Root) {
			check(fmt.Errorf("another root"), "root", one.Size)
		}
	}
	for _, one := range log.Consistency {
		check(tlog.CheckTree(hashes(one.Hashes), one.New, hash(one.NewRoot), one.Old, hash(one.OldRoot)), one)
		proof, err := tlog.ProveTree(one.New, one.Old, reader)
		check(err, "consistency", one.Old, one.New)
		if !same(proof, one.Hashes) {
			check(fmt.Errorf("another proof"), "consistency", one.Old, one.New)
		}
	}
	if log.Entries {
		entries(dir, size, reader)
	}
	fmt.Println(len(log.Inclusion), "inclusions,", len(log.Consistency), "consistencies, size", tree.N)
}
