package main

import (
	"errors"
	"strings"
	"time"
)

// Args is what most methods take.
type Args struct{ Num1, Num2 int }

// Point lies in Everything.
type Point struct{ X, Y float64 }

// Everything has a field of each kind.
type Everything struct {
	Flag    bool
	Small   int
	Count   uint
	Ratio   float64
	Name    string
	Raw     []byte
	Numbers []int
	Names   []string
	Three   [3]int
	Ages    map[string]int
	Where   Point
	Path    []Point
	Places  map[string]Point
	Perhaps *Point
	Deep    [][]int
}

func everything() Everything {
	return Everything{
		true, -7, 7, 0.5, "grün", []byte{0, 255}, []int{1, -2, 0}, []string{"a", ""},
		[3]int{0, 5, -5}, map[string]int{"x": 1, "": 0}, Point{1.5, -1.5}, []Point{{}, {2, 0}},
		map[string]Point{"here": {0, 3}}, &Point{4, 0}, [][]int{{1}, nil, {2}},
	}
}

// method decodes its argument and returns its reply.
type method func(decode func(interface{}) error) (interface{}, error)

func onArgs(do func(Args) (int, error)) method {
	return func(decode func(interface{}) error) (interface{}, error) {
		var args Args
		if err := decode(&args); err != nil {
			return nil, err
		}
		return do(args)
	}
}

var methods = map[string]method{
	"Foo.Sum":  onArgs(func(args Args) (int, error) { return args.Num1 + args.Num2, nil }),
	"Foo.Fail": onArgs(func(args Args) (int, error) { return 0, errors.New("boom") }),
	"Foo.Sleep": onArgs(func(args Args) (int, error) {
		time.Sleep(time.Duration(args.Num1) * time.Second)
		return args.Num1 + args.Num2, nil
	}),
	"Foo.Mirror": func(decode func(interface{}) error) (interface{}, error) {
		var all Everything
		err := decode(&all)
		return all, err
	},
	"Foo.Squares": func(decode func(interface{}) error) (interface{}, error) {
		var upto int
		err := decode(&upto)
		squares := map[int]int{}
		for number := 0; number < upto; number++ {
			squares[number] = number * number
		}
		return squares, err
	},
	"Foo.Words": func(decode func(interface{}) error) (interface{}, error) {
		var text string
		err := decode(&text)
		return strings.Fields(text), err
	},
	"Foo.Long": func(decode func(interface{}) error) (interface{}, error) {
		var size int
		err := decode(&size)
		return make([]byte, size), err
	},
}
