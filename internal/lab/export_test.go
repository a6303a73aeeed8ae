package lab

import "errors"

// Within calls f on a thread inside the namespace of that name.
func Within(namespace string, f func() error) error {
	n, err := openNamespace(namespace)
	if err != nil {
		return err
	}
	return errors.Join(n.do(f), n.close())
}

// WithNamespace calls f with a descriptor of a new namespace that has no name.
func WithNamespace(f func(fd int) error) error {
	made, err := makeNamespaces([]string{"nameless"})
	if err != nil {
		return err
	}
	return errors.Join(f(int(made[0].handle)), made[0].close())
}

// Unpublish takes the name from a namespace.
var Unpublish = unpublish
