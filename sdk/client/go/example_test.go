package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// A topic is made once; a program that may be started again takes it as it is.
func ExampleClient_CreateTopic() {
	server, stop := broker()
	defer stop()
	ctx := context.Background()
	c, err := client.New(client.Options{Server: server})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for range 2 {
		topic, err := c.CreateTopic(ctx, client.TopicSpec{
			Name: "orders", Partitions: 4, Config: map[string]string{"retention.ms": "86400000"},
		})
		switch {
		case client.IsCode(err, errcode.TopicAlreadyExists):
			fmt.Println("orders is there already")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(topic.Name, "has", topic.Partitions, "partitions")
		}
	}
	// Output:
	// orders has 4 partitions
	// orders is there already
}

// A Producer gathers records into batches and delivers each exactly once; a Consumer reads them.
func Example() {
	server, stop := broker()
	defer stop()
	ctx := context.Background()
	c, err := client.New(client.Options{Server: server})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.CreateTopic(ctx, client.TopicSpec{Name: "orders"}); err != nil {
		log.Fatal(err)
	}

	p, err := client.NewProducer(ctx, c, client.ProducerOptions{Topic: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		r := record.Record{Key: []byte("customer-7"), Value: fmt.Appendf(nil, `{"total":%d}`, 10*i)}
		err := p.Send(ctx, r, func(report client.Report) {
			if report.Outcome != client.Kept {
				log.Print(report.Outcome, report.Err)
			}
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil { // waits for the reports
		log.Fatal(err)
	}

	k, err := client.NewConsumer(ctx, c, client.ConsumerOptions{Topic: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	for read := 0; read < 3; {
		n, err := k.Poll(ctx, func(r *client.ConsumedRecord) error {
			fmt.Printf("%d %s %s\n", r.Offset, r.Key, r.Value)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
		read += n
	}
	// Output:
	// 0 customer-7 {"total":0}
	// 1 customer-7 {"total":10}
	// 2 customer-7 {"total":20}
}

// Single records need no Producer: the answer says what became of each.
func ExampleClient_ProduceRecords() {
	server, stop := broker()
	defer stop()
	ctx := context.Background()
	c, err := client.New(client.Options{Server: server})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.CreateTopic(ctx, client.TopicSpec{Name: "orders"}); err != nil {
		log.Fatal(err)
	}

	result, err := c.ProduceRecords(ctx, "orders", []client.JSONRecord{
		{Value: []byte(`{"total":10}`)},
		client.NewJSONRecord([]byte("customer-7"), []byte{0xff, 0x00}), // any bytes
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range result.Partitions {
		fmt.Printf("%d records from offset %d on\n", p.Count, p.BaseOffset)
	}
	// Output:
	// 2 records from offset 0 on
}

// A pipeline is changed only while it is the one that was read.
func ExampleClient_SetPipeline() {
	server, stop := broker()
	defer stop()
	ctx := context.Background()
	c, err := client.New(client.Options{Server: server})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.CreateTopic(ctx, client.TopicSpec{Name: "orders"}); err != nil {
		log.Fatal(err)
	}
	if _, err := c.PutModule(ctx, "redact", module()); err != nil {
		log.Fatal(err)
	}

	p, err := c.SetPipeline(ctx, "orders", []client.Stage{
		{Module: "redact@1", Config: []byte(`{"fields":["email"]}`)},
	}, client.IfAbsent())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", p.Version, "runs", p.Stages[0].Module)

	p.Stages[0].OnError = client.OnErrorSkip
	if p, err = c.SetPipeline(ctx, "orders", p.Stages, client.IfVersion(p.Version)); err != nil {
		log.Fatal(err)
	}
	_, err = c.SetPipeline(ctx, "orders", p.Stages, client.IfVersion(1))
	fmt.Println("version", p.Version, "is in force; a change of version 1 is refused:", client.IsCode(err, errcode.VersionConflict))
	// Output:
	// version 1 runs redact
	// version 2 is in force; a change of version 1 is refused: true
}
